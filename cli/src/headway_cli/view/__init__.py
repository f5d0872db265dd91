"""How a run looks: pure functions from what is known of it to text and Rich renderables."""
