package main

// figure is a distribution that somebody published. Zero means that it was not told.
type figure struct {
	of                       string
	mean, p50, p95, p99, max float64
}

// The sources of published figures.
const (
	sweBench  = "SWE-bench Verified, 500 problems"
	r2eGym    = "R2E-Gym on Qwen3-32B, 23 trajectories, 504 steps"
	miniSWE   = "mini-swe-agent on Gemini 3 Pro, 500 trajectories"
	benchmark = "the benchmark this load stands for, 500 trajectories"
)

// published are the figures that the generator is held against, by quantity. Its own
// lengths and times were chosen so that it has the aggregates of the benchmark, whose
// steps no file tells; the shapes are those of R2E-Gym's runs.
var published = map[string][]figure{
	"steps": {
		{benchmark, 47.1, 0, 0, 0, 0},
		{r2eGym, 21.9, 28, 0, 0, 0},
		{miniSWE, 40.3, 36, 83, 0, 145},
	},
	"problem, tokens": {{sweBench, 470.8, 308, 1348, 2720, 7721}},
	"thought, tokens": {
		{r2eGym, 774, 522, 0, 0, 0},
		{miniSWE, 171, 41, 0, 0, 0},
	},
	"action, tokens": {
		{r2eGym, 89, 65, 235, 0, 0},
		{miniSWE, 67, 23, 329, 0, 0},
	},
	"observation, tokens": {
		{r2eGym, 337, 162, 1116, 0, 3576},
		{miniSWE, 301, 82, 1242, 0, 0},
	},
	"env_exec_time of a step, s": {
		{benchmark, 0.43, 0, 0, 0, 0},
		{r2eGym, 0.207, 0.095, 0.516, 2.1, 5.8},
	},
	"env_exec_time of the first 5 steps, s": {{benchmark, 2.149, 0, 0, 0, 0}},
	"env_exec_time of all steps, s":         {{benchmark, 20.2, 0, 0, 0, 0}},
}
