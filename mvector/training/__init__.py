"""What the trainer is made of: optimisers and schedules, checkpoints, records."""
