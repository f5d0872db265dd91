"""The process node: a node agent that runs pods as processes of this machine.

It registers a real Node, takes the pods that the scheduler binds to it and runs their containers'
commands. It is no sandbox: a container has the file system, the network and the rights of the user
that the agent runs as. What it does with every field of a pod stands in ``fields.py``.

A run of a container belongs to a small supervisor process of its own (``supervisor.py``), which
outlives the agent: it keeps the output, enforces the memory limit, ends what the container leaves
behind, and writes down the exit code. The agent may die at any time and come back; it reads from
the files what happened, and a lock that only the living supervisor holds tells it who is still
there.
"""
