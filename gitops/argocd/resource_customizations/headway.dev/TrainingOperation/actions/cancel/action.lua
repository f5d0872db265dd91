-- Asks the run to stop. A cancel cannot be taken back.
obj.spec.cancel = true
if obj.spec.cancelReason == nil then
  obj.spec.cancelReason = "cancelled from Argo CD"
end
return obj
