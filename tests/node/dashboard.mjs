// What a BullMQ dashboard does, by the official package: node dashboard.mjs PORT QUEUE look | retry ID | remove ID
import { Queue } from "bullmq";

const [port, name, action, id] = process.argv.slice(2);
const queue = new Queue(name, { connection: { host: "127.0.0.1", port: Number(port), maxRetriesPerRequest: 1 } });
queue.on("error", (error) => { console.error(error); process.exit(1); });

const shown = (job) => ({
  id: job.id,
  name: job.name,
  events: job.data.events,
  reason: job.failedReason ?? null,
  attemptsMade: job.attemptsMade,
  attempts: job.opts.attempts,
  backoff: job.opts.backoff,
  priority: job.priority,
  stacktrace: job.stacktrace,
});

if (action === "retry") await (await queue.getJob(id)).retry();
if (action === "remove") await (await queue.getJob(id)).remove();
const states = ["wait", "prioritized", "active", "delayed", "failed", "completed"];
const jobs = {};
for (const state of states) jobs[state] = (await queue.getJobs([state])).map(shown);
console.log(JSON.stringify({ counts: await queue.getJobCounts(...states), jobs }));
await queue.close();
