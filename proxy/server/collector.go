package server

// ballast is memory that is never touched: it costs none, and counts as live.
var ballast []byte //nolint:unused // it is there to be there

// ballastBytes is what the collector lets accumulate besides what is live.
const ballastBytes = 32 << 20

// CollectLess lets the garbage collector run less often, at the price of at most
// 32 MiB: for a process that is a proxy and little else. A proxy holds little and
// makes much garbage, and the collector would run for every 4 MiB of it: half of
// the CPU time (bench/overhead). It is to be called once, at the start.
func CollectLess() { ballast = make([]byte, ballastBytes) }
