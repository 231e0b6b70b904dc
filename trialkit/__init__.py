"""trialkit: gait-training trials from a written protocol to a signed evidence package."""

__version__ = "0.1.0"
