from . import course as course
from .compare.api import compare as compare
from .compare.result import Comparison as Comparison
from .errors import UsageError as UsageError
from .lab.api import LabResult as LabResult
from .lab.api import measure as measure
from .lab.check.api import check as check
from .lab.check.result import Check as Check
from .learning.doctor import Diagnosis as Diagnosis
from .learning.doctor import doctor as doctor
from .learning.loop import TrainingInterrupted as TrainingInterrupted
from .learning.progress import Report as Report
from .learning.run import Run as Run
from .learning.run import load as load
from .learning.run import train as train

__version__: str
