"""Google Cloud in production: the settings of `cloud`, hardened, with a provider of mail."""

from config.settings.mail import MAILERS as MAIL  # first: it notes what `cloud` then requires

from config.settings.cloud import *  # isort: skip
from config.settings.error_reports import *  # isort: skip
from config.settings.hardened import *  # isort: skip

MAILERS = MAIL
