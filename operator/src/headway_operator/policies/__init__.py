"""Every decision of the controller: pure functions from a case to a plan.

:mod:`headway_operator.policies.chain` lists them in the order in which they are asked.
"""
