from .api import check as check
from .api import exercises as exercises
from .mistakes import MISTAKES as MISTAKES
from .result import Result as Result
