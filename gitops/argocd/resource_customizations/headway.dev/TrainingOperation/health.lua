-- Argo CD's view of a TrainingOperation (headway.dev/v1alpha1).
--
--   Succeeded          Healthy      the next sync wave begins
--   Failed, Cancelled  Degraded     the sync ends: nothing is built on a run that has no result
--   Suspended          Suspended    it holds no machine until somebody resumes it
--   any other phase    Progressing  also phases that this script has never heard of
local phase, message = "Pending", "Waiting for the Headway controller"
local status = obj.status

if status ~= nil and status.phase ~= nil then
  phase, message = status.phase, status.phase
  local progress = status.progress
  if phase == "Running" and progress ~= nil and progress.message ~= nil then
    message = progress.message
  elseif status.message ~= nil and status.message ~= "" then
    message = status.message
  end
end

-- What the status says is about an older spec: a cancel, for example, that nobody has seen yet.
local generation = obj.metadata.generation
if status == nil or (generation ~= nil and status.observedGeneration ~= generation) then
  return { status = "Progressing", message = message }
end

if phase == "Succeeded" then
  return { status = "Healthy", message = message }
end
if phase == "Failed" or phase == "Cancelled" then
  return { status = "Degraded", message = message }
end
if phase == "Suspended" then
  return { status = "Suspended", message = message }
end
return { status = "Progressing", message = message }
