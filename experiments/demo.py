"""The whole story, small, on the bundled faces: a mask is learned, compared, attacked, reported.

Opens nothing; the last line says where the report is. Minutes the first time (faces are rendered
and kept), the same settings as `./lab codesign` otherwise:

    ./lab demo
    ./lab demo joint.steps=500 seed=1
"""

from experiments.codesign import check, main
from experiments.launch import run_job

if __name__ == "__main__":
    run_job("demo", main, check=check)
