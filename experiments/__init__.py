"""Jobs: each module with a config of the same name is a command of `./lab`.

codesign        learn a mask together with the networks behind it, attack it, report it
pack            what other jobs read of a finished run, small; `shipped` holds such folders
tolerance       how a mask's numbers scatter when it is made
export          files for the maker of a mask
measured        a mask that was made and measured
capture         raw frames by a plan, on a rig
agent, pi       the process that owns a rig on a Raspberry Pi; its installation
calibrate       from frames to noise, PSFs and the camera that was made
compare         what was made beside what was meant
benchmark       our optics beside other libraries

Shared by all jobs
------------------
launch          command line, run folders, exit codes
composing       config of a job, checked key by key (Hydra)
settings        config to SI units and objects
store           atomic, hashed artefacts
training        the training loop; with checkpoints, sampling, distributed
"""
