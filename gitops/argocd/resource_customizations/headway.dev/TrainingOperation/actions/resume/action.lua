-- Lets a suspended run go on from its checkpoint.
obj.spec.suspend = nil
return obj
