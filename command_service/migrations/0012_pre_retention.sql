-- Outcomes are removed by age. Both indexes grow at their right end; the second one has rejections only.
CREATE INDEX commands_by_time ON commands (decided_at);
CREATE INDEX commands_rejected_by_time ON commands (decided_at) WHERE outcome ->> 'type' = 'command.rejected';
