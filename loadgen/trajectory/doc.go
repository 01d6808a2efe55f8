// Package trajectory is where the load comes from: agent trajectories read
// from R2E-Gym's JSON lines, problem statements read from a data set, or both
// made by a deterministic generator, so that nothing has to be downloaded.
//
// It opens the files it is told to and nothing else, starts no goroutine, and
// never puts a trajectory's text into an error. Read Trajectory first, then
// read.go for files and generate.go for the generator.
package trajectory
