-- What can be done to a TrainingOperation from Argo CD, as long as it is not over: cancel it, suspend
-- it, and resume it.
local over = { Succeeded = true, Failed = true, Cancelled = true }
local phase = obj.status ~= nil and obj.status.phase or "Pending"
local settled = over[phase] == true or obj.spec.cancel == true
local suspended = obj.spec.suspend == true

return {
  cancel = { disabled = settled },
  suspend = { disabled = settled or suspended },
  resume = { disabled = settled or not suspended },
}
