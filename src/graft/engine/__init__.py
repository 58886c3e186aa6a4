"""The engine: one way to run any plan with any backbone, task and objective.

    plan → phases → groups (rules × parameters) → cut → replay → store → loop | solve → records

In: a model, a task, streams, a plan. Out: the trained model and its records.
"""
