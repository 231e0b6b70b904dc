"""Sites that work offline: each keeps a chain of its own, and pushes it to the centre.

`trialkit.study.sync.site` makes the study folder of a site, `centre` takes up what it sends,
`push` sends it, over the network (`client`, `server`) or in a folder (`drop`).
"""
