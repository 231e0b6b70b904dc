"""Sites that work offline, and home devices: each keeps a chain of its own, and pushes it.

`trialkit.study.sync.site` makes the study folder of a site, `device` that of a home device and
takes the device back, `centre` takes up what it sends,
`push` sends it, over the network (`client`, `server`) or in a folder (`drop`).
"""
