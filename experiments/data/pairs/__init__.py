"""Lists of aligned faces to compare two by two; one file for each way they are laid out.

- `base`: what every reader gives.
- `listed`: CSV lists over archives of crops.
- `folders`: LFW's `pairs.txt` over folders of people.
- `packed`: InsightFace's `.bin` files (LFW, CFP-FP, AgeDB-30, CALFW, CPLFW).
"""
