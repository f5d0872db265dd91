-- What can be done to a TrainingOperation from Argo CD: cancel it, as long as it is not over.
local over = { Succeeded = true, Failed = true, Cancelled = true }
local phase = obj.status ~= nil and obj.status.phase or "Pending"

return {
  cancel = { disabled = over[phase] == true or obj.spec.cancel == true },
}
