"""Study: a folder that holds one trial."""

from trialkit.study.design import Design
from trialkit.study.status import StudyStatus
from trialkit.study.study import Study

__all__ = ["Design", "Study", "StudyStatus"]
