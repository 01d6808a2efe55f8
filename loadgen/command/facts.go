package command

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"paceline/loadgen/load"
	"paceline/loadgen/report"
	"paceline/loadgen/report/render"
	"paceline/loadgen/sweep"
	"paceline/loadgen/target"
	pb "paceline/proto/paceline/v1"
	"paceline/proxy/version"
)

// newReport returns a report with everything that is known before the first run.
func newReport(o options, l load.Load, status *pb.GetStatusResponse) report.Report {
	up := status.GetUpstream()
	r := report.Report{
		FormatVersion: report.FormatVersion,
		CreatedAt:     time.Now(),
		Version:       version.Short(),
		ProxyVersion:  status.GetVersion(),
		Simulated:     up.GetSimulated(),
		Environment:   environment(o.args),
		Source:        l.Source,
		Server: report.Server{
			URL: up.GetUrl(), Version: up.GetVersion(), Model: up.GetModel(), Device: up.GetDevice(), LoadSeconds: up.LoadSeconds,
			MaxPromptTokens: up.GetMaxPromptTokens(), KVCacheTokens: up.GetKvCacheTokens(),
			ChunkedPrefillTokens: up.GetChunkedPrefillTokens(), SchedulePolicy: up.GetSchedulePolicy(),
			TextsSent: up.GetTextsSent(),
		},
		Config:  newConfig(o),
		EnvExec: l.EnvExec,
		Limits:  o.limits,
	}
	if o.simulatedIDs() {
		r.Server.TextsSent = "as token ids: those of the simulator's own tokenizer"
	}
	if path := up.GetModelPath(); path != "" {
		r.Server.ModelPath = filepath.Base(path) // the rest is private to the machine
	}
	if sim := up.GetSimulator(); sim != nil {
		r.Simulation = &report.Simulation{Profile: sim.GetProfile(), Origin: sim.GetOrigin(), Speed: sim.GetSpeed()}
		if o.simulated() {
			r.Simulation.Speed = 0
		}
	}
	return r
}

// newConfig describes the plan and what its settings vary in.
func newConfig(o options) report.Config {
	p := o.plan
	c := report.Config{
		Concurrency: p.Concurrency, MaxNewTokens: int(o.maxNewTokens), Repeats: p.Repeats, Seed: p.Seed, StopWhen: p.StopWhen,
		Objective: o.objective, CostPerHour: o.costPerHour,
		MaxInFlight: p.Settings[0].MaxInFlight, MaxWaitSeconds: p.Settings[0].MaxWait.Seconds(),
	}
	if a := p.Arrival; a.Open() {
		c.Concurrency = 0 // an open loop has no callers
		c.Arrival = &report.Arrival{
			Process: string(a.Process), Rate: a.Rate, TraceSpeed: a.TraceSpeed,
			MostOutstanding: a.MaxOutstanding, WhenFull: string(a.WhenFull),
			WarmUpSeconds: a.WarmUp.Seconds(), LateAfterSeconds: a.LateAfter.Seconds(),
		}
	}
	if o.load.Work != target.Prefill {
		c.Work = string(o.load.Work)
	}
	for _, s := range p.Settings {
		c.Settings = append(c.Settings, s.Name())
	}
	if len(o.sizes.Value) > 0 {
		c.MaxInFlights = sweep.Distinct(o.maxInFlight.Value)
		for _, wait := range sweep.Distinct(o.maxWait.Value) {
			c.MaxWaitsSeconds = append(c.MaxWaitsSeconds, wait.Seconds())
		}
		for _, order := range sweep.Distinct(o.orders.Value) {
			c.Orders = append(c.Orders, string(order))
		}
	}
	for _, phase := range p.Phases {
		c.Phases = append(c.Phases, string(phase))
	}
	return c
}

// announce prints what is about to be measured.
func announce(r report.Report, out string) {
	server := fmt.Sprintf("SGLang %s at %s, model %s on %s", r.Server.Version, r.Server.URL, r.Server.Model, r.Server.Device)
	if r.Simulated {
		server = "SIMULATED SGLang"
		if sim := r.Simulation; sim != nil {
			server += fmt.Sprintf(", profile %s (%s)", sim.Profile, sim.Origin)
		}
	}
	inFlight := make([]string, len(r.Config.MaxInFlights))
	for i, n := range r.Config.MaxInFlights {
		inFlight[i] = strconv.Itoa(n)
	}
	fmt.Fprintf(os.Stderr, "%s\n%d prompts; %s\n", server, r.Source.Requests, render.Load(r.Config, render.English))
	fmt.Fprintf(os.Stderr, "at most %s batches in flight, %d settings, %d repeat(s); writing to %s\n\n",
		strings.Join(inFlight, " or "), len(r.Config.Settings), r.Config.Repeats, out)
}

// environment describes this process and its machine for the report.
func environment(args []string) report.Environment {
	return report.Environment{
		GoVersion: runtime.Version(), OS: runtime.GOOS, OSVersion: osVersion(), Arch: runtime.GOARCH,
		CPUs: runtime.NumCPU(), CPUModel: field("/proc/cpuinfo", "model name", ":"), Args: args,
	}
}

// osVersion returns the name of the system and its kernel; empty if neither can be read.
func osVersion() string {
	name := field("/etc/os-release", "PRETTY_NAME", "=")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.Join(strings.Fields(strings.Trim(name, `"`)+" "+string(kernel)), " ")
}

// field returns the value of the first line of a file with that name; empty without one.
func field(path, name, separator string) string {
	data, _ := os.ReadFile(path) // a system without the file has no value
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, separator); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
