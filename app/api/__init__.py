"""The HTTP service: the own API, and `/v1/videos` as OpenAI's clients speak it."""
