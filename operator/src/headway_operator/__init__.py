"""The controller of Headway: it makes Jobs of TrainingOperations, and a status of what happens."""
