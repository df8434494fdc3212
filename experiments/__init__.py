"""Jobs: each module with a config of the same name is a command of `./lab`.

codesign        learn a mask together with the networks behind it, attack it, report it

Shared by all jobs
------------------
launch          command line, run folders, exit codes
composing       config of a job, checked key by key (Hydra)
settings        config to SI units and objects
store           atomic, hashed artefacts
training        the training loop; with checkpoints, sampling, distributed
"""
