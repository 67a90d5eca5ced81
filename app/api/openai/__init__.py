"""`/v1/videos` and `/v1/models`, in the shapes that OpenAI's clients expect."""
