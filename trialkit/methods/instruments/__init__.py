"""Agreement, measurement error and effect sizes."""
