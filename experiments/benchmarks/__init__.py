"""What `./lab benchmark` measures: speed and memory beside other libraries, and accuracy.

scenes       the cases and their float64 answers
contestants  who takes part: ours, plain, and one file per library in peers/
timing       interleaved medians; memory: peaks, in a process of their own
judging      rows, ratios and metrics of a case
accuracy     collects the anchors of every anchors_*.py
showing      both as text and as a page
"""
