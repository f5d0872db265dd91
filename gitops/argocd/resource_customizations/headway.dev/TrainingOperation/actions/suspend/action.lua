-- Asks the run to write a checkpoint and to let go of its machine, until somebody resumes it.
obj.spec.suspend = true
return obj
