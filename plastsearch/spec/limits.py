"""How large what a person writes may be. Beyond these a number is a slip of the hand, or fills a memory or a lifetime.

They stand here alone: settings (config.py, sweep.py), ranges (domains.py), patterns, spaces as text (document.py), the
widths in a model folder and the options of commands all ask this file.
"""

MOST_BYTES = 1 << 20  # of a search space's file
MOST_VALUES = 50_000  # in it; aliases can make a small file unfold without end
MOST_DEPTH = 24  # of what stands in what
MOST_DIGITS = 18  # of a whole number
MOST_TOLD = 50  # mistakes of one file that are spelt out

MOST_KEYS = 200  # of a space, whose trials have some seventy settings; of its lists, too
MOST_CHOICES = 1_000  # values of one `choice`, or patterns of one `subset`
MOST_BOUND = 10**15  # either end of a range
MOST_STEPS_OF_A_RANGE = 1_000_000  # values of one range
MOST_ALTERNATIVES = 1_000  # numbers and words in the braces of a pattern, and characters of it

MOST_SEED = 10**15
MOST_COUNT = 10**9  # steps and trials: more than any sweep will see
MOST_CLIPS = 10**7
MOST_SAMPLES = 10**8  # of a clip: an hour and a half at 16 kHz
MOST_RATE_HZ = 10**6
MOST_AT_ONCE = 10**5  # clips of a batch, batches of a step, threads, trials side by side
MOST_WORKERS = 1_024  # processes of one machine
MOST_REPEATS = 10**4  # seeds, crops, evaluations, finalists
MOST_REPLICATES = 10**6  # of a bootstrap
MOST_SECONDS = 10**10
MOST_AMOUNT = 10**9  # of what has no natural end: rates, decays, gigabytes, hours

MOST_LAYERS = 1_000
MOST_WIDTH = 10**6  # neurons, channels, heads of one layer
MOST_TAPS = 31  # of a kernel, along each axis
