"""Schedules: numbers that depend on the step count alone."""

from uniopt.schedules.basic import constant_schedule as constant_schedule
from uniopt.schedules.basic import cosine_decay_schedule as cosine_decay_schedule
from uniopt.schedules.basic import join_schedules as join_schedules
from uniopt.schedules.basic import linear_schedule as linear_schedule
from uniopt.schedules.basic import warmup_cosine_decay_schedule as warmup_cosine_decay_schedule
from uniopt.schedules.stateful import StatefulSchedule as StatefulSchedule
from uniopt.schedules.stateful import WrappedSchedule as WrappedSchedule
from uniopt.schedules.stateful import WrappedScheduleState as WrappedScheduleState
