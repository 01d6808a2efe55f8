package batcher

import "maps"

// caller is one of those who share the batcher. Each is served in proportion to
// its weight, measured in prompt tokens that the server had to compute: of those
// with waiting prompts the one that got least goes first. Guarded by Batcher.mu.
type caller struct {
	name     string
	weight   float64
	attained float64 // tokens computed for it, by weight, since it came
	present  int     // its items that wait or are in flight
}

// callers is every caller with work, and those who still owe.
type callers struct {
	byName map[string]*caller
	level  float64 // what the caller served last had attained
}

// maxCallers bounds the callers that are remembered while they are absent: far
// more than share one server, and little memory.
const maxCallers = 4096

// come notes one more item of a caller. One who was away starts where the others
// are: being absent saves nothing up.
func (c *callers) come(name string, weight float64) *caller {
	who := c.byName[name]
	if who == nil {
		if len(c.byName) >= maxCallers {
			maps.DeleteFunc(c.byName, func(_ string, other *caller) bool { return other.present == 0 })
		}
		who = &caller{name: name, attained: c.level}
		c.byName[name] = who
	}
	if who.present == 0 {
		who.attained = max(who.attained, c.level)
	}
	if who.weight = weight; weight <= 0 {
		who.weight = 1
	}
	who.present++
	return who
}

// leave undoes come. A caller without debt is forgotten at once.
func (c *callers) leave(who *caller) {
	who.present--
	if who.present == 0 && who.attained <= c.level {
		delete(c.byName, who.name)
	}
}

// serve charges a caller tokens; a negative number gives back what was charged
// too much.
func (c *callers) serve(who *caller, tokens float64) {
	if tokens > 0 {
		c.level = max(c.level, who.attained)
	}
	who.attained += tokens / who.weight
}
