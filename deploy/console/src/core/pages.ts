// Every page: its address, its key after `g`, and what it is for.
export const PAGES = [
  { path: "", name: "Now", key: "n", about: "Is anything lost, held, late or stopped?" },
  { path: "failures", name: "Failures", key: "f", about: "What failed, by cause; replay, discard, edit" },
  { path: "projections", name: "Projections", key: "p", about: "Read models, their lag and generations" },
  { path: "streams", name: "Streams", key: "s", about: "One order from command to every store" },
  { path: "processes", name: "Processes", key: "o", about: "What waits for what" },
  { path: "proof", name: "Proof", key: "v", about: "Verify every store against the event store" },
  { path: "timeline", name: "Timeline", key: "t", about: "Who did what, when and why" },
  { path: "commands", name: "Commands", key: "c", about: "Send one; what is scheduled" },
  { path: "shop", name: "Shop", key: "d", about: "An example dashboard on the public routes" },
] as const;
