-- What a predicted frame costs
SELECT dataset, name, strategy, schedule, parameters, tokens, seconds_per_frame, context, rollout, starts
FROM runs
