package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"paceline/loadgen/journal"
	"paceline/loadgen/load"
	"paceline/loadgen/phrase"
	"paceline/loadgen/plausibility"
	"paceline/loadgen/report"
	"paceline/loadgen/stats"
	"paceline/loadgen/sweep"
	"paceline/loadgen/target"
)

// options is the command line of a sweep.
type options struct {
	load load.Options
	plan sweep.Plan // complete once the options are validated

	sizes, maxInFlight      list[int]
	maxWait                 list[time.Duration]
	orders                  list[sweep.Order]
	phases                  list[sweep.Phase]
	unbatched, auto, direct bool
	stopWhen                share
	rate                    rate
	maxNewTokens            uint

	target, targetAdmin              string
	access                           target.Access
	sglang, sglangKeyFile, sglangLog string
	tokenizer                        string
	simProfile                       string
	simSpeed                         float64

	part    sweep.Part
	startAt startTime
	resume  string

	out, language       string
	failIf              thresholds
	device, modelConfig string
	jaeger              string

	args   []string       // as given, for the report
	facts  []journal.Fact // the flags that a sweep must share to be the same
	limits *report.Limits // of -device; nil without
	lang   phrase.Language
}

const defaultProfile = "h100-qwen2.5-7b"

// flags defines the flags of a sweep, each with its default, the reason for it where it is not
// plain, and its help.
func (o *options) flags() *flagSet {
	f := newFlagSet("loadgen")
	o.loadFlags(f)
	o.arrivalFlags(f)
	o.settingFlags(f)
	o.targetFlags(f)
	o.processFlags(f)
	o.reportFlags(f)
	return f
}

func (o *options) loadFlags(f *flagSet) {
	l := &o.load
	f.title("What is sent")
	define(f, &l.Count, 500, "n", // as in the benchmark of record
		"how many trajectories, or requests of a trace, to send; fewer if the file holds fewer")
	define(f, &l.Trajectories, "", "trajectories", "`file` of R2E-Gym trajectories, JSON lines (default: 500 generated ones)")
	define(f, &l.Problems, "", "problems", "`file` of problem statements, JSON lines with problem_statement")
	define(f, &l.Trace, "", "trace", "`file` of recorded requests, JSON lines with timestamp (ms), input_length and hash_ids "+
		"of 512 tokens each, as Mooncake's: sent when they were, unless -rate says otherwise")
	define(f, &l.Turns, 1, "turns", "turns to send of each trajectory, each after the answer to the one before; 0: all")
	define(f, &l.EnvScale, 1, "env-scale", "how much of the environment's recorded time passes before the next turn; 0: none")
	define(f, &l.Rollouts, 1, "rollouts", "copies of each trajectory, begun together or -stagger apart")
	define(f, &l.Stagger, 0, "stagger", "with -rollouts, how long after the one before it a copy begins; 0: together")
	define(f, &l.Mix, load.Mix{}, "mix",
		"`shares` of trajectories to send as first turns, whole conversations and rollouts, such as first=70,turns=20,rollouts=10")
	define(f, &l.System, "", "system", "`file` with the system prompt (default: our own)")
	define(f, &l.Instance, "", "instance", "`file` with the instance prompt, holding {problem_statement} (default: our own)")
	define(f, &l.ChatTemplate, "qwen2.5", "chat-template", "how messages become text: qwen2.5, qwen3 (without the thoughts "+
		"of earlier answers), plain, or a `file` with a line for each role (see loadgen/prompt/chat.go)")
	define(f, &o.maxNewTokens, 0, "max-new-tokens", "tokens to generate for each prompt: 0 or 1")
}

func (o *options) arrivalFlags(f *flagSet) {
	a := &o.plan.Arrival
	f.title("When it is sent")
	define(f, &o.plan.Concurrency, 64, "concurrency", // four full batches of the largest size
		"callers in the closed loop, the same at every setting")
	define(f, &o.rate, rate{}, "rate", "open loop: conversations that begin in a second, whether others were answered or not; "+
		"`from..to` goes from one rate to the other (default: closed loop, -concurrency callers)")
	define(f, (*string)(&a.Process), string(sweep.Poisson), "arrival", "with -rate, distances between beginnings: poisson or constant")
	define(f, &a.TraceSpeed, 1, "speed", "with -trace, how much faster than recorded")
	define(f, &a.MaxOutstanding, sweep.DefaultMaxOutstanding, "most-outstanding",
		"with -rate or -trace, most conversations under way at once")
	define(f, (*string)(&a.WhenFull), string(sweep.Drop), "when-full",
		"what happens to a conversation that is due beyond that: drop (counted, not sent) or wait")
	define(f, &a.LateAfter, sweep.DefaultLateAfter, "late-after",
		"with -rate or -trace, count a request as late that is sent so long after it was due")
	define(f, &a.WarmUp, 0, "warm-up", "with -rate or -trace, leave what is due in the first so long of each run out of all figures")
}

func (o *options) settingFlags(f *flagSet) {
	f.title("What is measured")
	number := "is not a whole number"
	define(f, &o.sizes, listOf("1,2,4,8,16", strconv.Atoi, number), "sizes", "batch sizes to measure, separated by commas")
	define(f, &o.unbatched, true, "unbatched", "measure single calls too: no waiting, no in-flight cap")
	define(f, &o.auto, true, "auto", "measure the mode that chooses by itself too")
	define(f, &o.direct, true, "direct", "with -sglang, measure straight to SGLang too, without a proxy")
	define(f, &o.plan.Repeats, 3, "repeats", "how often each setting is measured") // the fewest that show a spread
	define(f, &o.stopWhen, 0, "stop-when", fmt.Sprintf("end a setting's repeats once the 95 %% interval of its throughput reaches no "+
		"further than this `share` to either side, such as 2%%, but not before %d; -repeats is the most. 0: never", stats.FewestForInterval))
	define(f, &o.maxInFlight, listOf("2", strconv.Atoi, number), "max-in-flight", // the proxy's own default
		"batches at SGLang at once; several, separated by commas, measure each batch size at each")
	define(f, &o.maxWait, listOf("5ms", time.ParseDuration, "is not a time such as 5ms"), "max-wait", // the proxy's own default
		"longest wait for a batch to fill; several, separated by commas, as -max-in-flight")
	define(f, &o.orders, listOf("fifo", word[sweep.Order], ""), "order", // a plain control
		"order in which waiting requests are released, for fixed sizes: fifo, prefix (along shared prefixes, one leader first) or both")
	define(f, &o.phases, listOf("cold,warm", word[sweep.Phase], ""), "phases",
		"states of the prefix cache to measure: cold, warm or both. Warm alone fills it unmeasured")
	define(f, &o.plan.Timeout, 10*time.Minute, "timeout", "limit of one request") // longer than any pass should queue
	define(f, &o.load.Seed, 1, "seed", "seed of the generated trajectories and of the order of settings")
}

func (o *options) targetFlags(f *flagSet) {
	f.title("Where it is sent")
	define(f, &o.sglang, "", "sglang", "`URL` of a running SGLang (default: a simulator in this process)")
	define(f, &o.sglangKeyFile, "", "sglang-key-file", "`file` with SGLang's API key")
	define(f, &o.sglangLog, "", "sglang-log", "`file` to which SGLang writes its log, for the sequences in each of its forwards (#new-seq)")
	define(f, &o.target, "", "target", "`host:port` of a running proxy (default: one in this process)")
	define(f, &o.targetAdmin, "", "target-admin", "`host:port` of the running proxy's admin listener, to set batch sizes and flush")
	define(f, &o.access.BearerFile, "", "target-key-file", "`file` with the bearer key for the running proxy, sent to both its listeners")
	define(f, &o.access.CA, "", "target-tls-ca", "PEM `file` with the authority of the running proxy's certificate, or system for "+
		"the system's: speaks TLS to both its listeners, except to an admin listener given as http://host:port")
	define(f, &o.access.Cert, "", "target-tls-cert", "PEM `file` with the certificate to show to the running proxy")
	define(f, &o.access.Key, "", "target-tls-key", "PEM `file` with its key")
	define(f, &o.tokenizer, tokenizerAuto, "tokenizer", "tokenizer.json `file` of the model, for the proxy in this process to send "+
		"token ids; auto: the one in SGLang's model folder where that can be read; none: texts")
	define(f, &o.simProfile, defaultProfile, "sim-profile", "simulated server: a profile's name, or a JSON `file` with one")
	// An H100 needs 14.5 s for one cold pass. Faster clocks let the real cost of a call show: 5 % at 3.
	define(f, &o.simSpeed, 3, "sim-speed", "simulated seconds per real second")
}

func (o *options) processFlags(f *flagSet) {
	f.title("From several processes, and after a cut")
	define(f, &o.part, sweep.Part{}, "shard", "`i/n`: send only the conversations whose number leaves i when divided by n, with as many "+
		"of the callers; i from 0. loadgen merge joins the reports")
	define(f, &o.startAt, startTime{}, "start-at", "`time` at which to begin to measure, such as 2026-12-01T08:00:00Z, so that all "+
		"shards begin together (default: at once)")
	define(f, &o.resume, "", "resume", "`directory` of a sweep that was cut short: go on with it, measuring only what is missing. "+
		"Without other flags, with those that it was begun with; a greater -repeats adds repeats")
	f.removed("coordinator", coordinatorReplacement)
}

const coordinatorReplacement = "start each shard with -shard i/n, a -target of its own and the same -start-at, and join their reports with loadgen merge"

func (o *options) reportFlags(f *flagSet) {
	f.title("What is made of it")
	define(f, &o.out, "", "out", "`directory` for the report (default results/<time>)")
	define(f, &o.language, string(phrase.English), "lang", "`language` of the report: en or zh")
	define(f, &o.failIf, nil, "fail-if", "`condition` under which the exit status is 3, such as p99>2s, duep99>2s (from when requests "+
		"were due), throughput<30, failed>1%, dropped>0 or cached<40%, for every setting's median; may be given again")
	define(f, &o.device, "", "device", "what serves the model: a100, h100, h200 or a JSON `file`; the report then says whether its "+
		"figures can be true")
	define(f, &o.modelConfig, "", "model-config", "the model's config.json `file`, for -device (default: Qwen2.5-7B)")
	define(f, &o.jaeger, "http://127.0.0.1:16686", "jaeger", "`URL` of Jaeger's page, for links to traces. Requests are traced where "+
		"OTEL_EXPORTER_OTLP_ENDPOINT is set, one of a hundred unless OTEL_TRACES_SAMPLER says otherwise")
}

// parseOptions reads the command line. An error names the flag and what was expected;
// flag.ErrHelp means that the help was written to w.
func parseOptions(args []string, w io.Writer) (options, error) {
	var o options
	given := o.flags()
	if err := o.parse(given, args, w); err != nil {
		return o, err
	}
	if o.resume != "" {
		if err := o.resumed(given); err != nil {
			return o, fmt.Errorf("-resume: %w", err)
		}
	}
	return o, o.complete()
}

func (o *options) parse(f *flagSet, args []string, w io.Writer) error {
	if err := f.parse(args, w); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: flags only, see -h", f.Arg(0))
	}
	o.args = args
	f.VisitAll(func(one *flag.Flag) {
		if !slices.Contains(ownFlags, one.Name) {
			o.facts = append(o.facts, journal.Fact{Name: "-" + one.Name, Value: one.Value.String()})
		}
	})
	return nil
}

// ownFlags say where something is, when it begins, or what is reported, and not what a sweep
// does. The content of the files of prompts is a fact of its own.
var ownFlags = []string{
	"out", "resume", "shard", "start-at", "coordinator", "jaeger", "fail-if", "device", "model-config", "lang",
	"target", "target-admin", "target-tls-ca", "target-tls-cert", "target-tls-key", "target-key-file",
	"sglang", "sglang-key-file", "sglang-log", "trajectories", "problems", "system", "instance", "trace",
}

// resumed takes the flags with which the sweep of -resume was begun, if no others are given
// than those that may change: -repeats and -start-at.
func (o *options) resumed(given *flagSet) error {
	dir, startAt := o.resume, o.startAt
	others, more := 0, []string(nil)
	given.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "resume", "start-at":
		case "repeats":
			more = []string{"-repeats", f.Value.String()}
		default:
			others++
		}
	})
	if others > 0 {
		return nil
	}
	held, err := journal.Read(dir)
	if err != nil {
		return err
	}
	*o = options{}
	if err := o.parse(o.flags(), slices.Concat(held.Args, more), io.Discard); err != nil {
		return fmt.Errorf("the flags of %s: %w", dir, err)
	}
	o.resume, o.out, o.startAt = dir, "", startAt
	return nil
}

// complete validates the options and fills in what follows from them.
func (o *options) complete() error {
	if err := o.validate(); err != nil {
		return err
	}
	var err error
	if o.lang, err = phrase.Named(o.language); err != nil {
		return fmt.Errorf("-lang: %w", err)
	}
	if err := o.load.Validate(); err != nil {
		return err
	}
	if err := o.completeLimits(); err != nil {
		return err
	}
	if err := o.completeArrival(); err != nil {
		return err
	}
	o.plan.Seed, o.plan.StopWhen, o.plan.Speed, o.plan.Phases = o.load.Seed, float64(o.stopWhen), 1, o.phases.values
	if err := o.completeSettings(); err != nil {
		return err
	}
	return o.plan.Validate()
}

func (o *options) validate() error {
	switch {
	case o.maxNewTokens > 1:
		return fmt.Errorf("-max-new-tokens: must be 0 or 1, got %d", o.maxNewTokens)
	case o.resume != "" && o.out != "":
		return fmt.Errorf("-resume and -out: give one, not both: what is missing is written to the directory of -resume")
	case o.target != "" && o.targetAdmin == "":
		return fmt.Errorf("-target: needs -target-admin too, to set batch sizes and flush the cache")
	case o.target == "" && o.targetAdmin != "":
		return fmt.Errorf("-target-admin: needs -target too")
	case o.simSpeed <= 0 || o.simSpeed > 1000:
		return fmt.Errorf("-sim-speed: must be above 0 and at most 1000, got %v", o.simSpeed)
	case o.plan.Arrival.TraceSpeed != 1 && (o.load.Trace == "" || o.rate.text != ""):
		return fmt.Errorf("-speed: needs -trace, without -rate")
	case o.part.Of > o.plan.Concurrency:
		return fmt.Errorf("-shard: %d callers can't be split into %d shards, see -concurrency", o.plan.Concurrency, o.part.Of)
	case o.part.Of > o.plan.Arrival.MaxOutstanding:
		return fmt.Errorf("-shard: %d outstanding conversations can't be split into %d shards, see -most-outstanding",
			o.plan.Arrival.MaxOutstanding, o.part.Of)
	}
	return errors.Join(o.startAt.passed(), o.access.Validate(o.target != ""))
}

// completeLimits finds the limits of -device.
func (o *options) completeLimits() error {
	if o.device == "" {
		if o.modelConfig != "" {
			return fmt.Errorf("-model-config: needs -device too")
		}
		return nil
	}
	d, err := plausibility.DeviceNamed(o.device)
	if err != nil {
		return fmt.Errorf("-device: %w", err)
	}
	m, err := modelOf(o.modelConfig)
	if err != nil {
		return fmt.Errorf("-model-config: %w", err)
	}
	o.limits = &report.Limits{Device: d, Model: m}
	return nil
}

// completeArrival turns the flags into the arrival of the plan; the plan validates it.
func (o *options) completeArrival() error {
	a := &o.plan.Arrival
	switch {
	case o.rate.text == "" && o.load.Trace == "":
		for _, needs := range []struct {
			given        bool
			flag, others string
		}{
			{a.Process != sweep.Poisson, "-arrival", "-rate"},
			{a.MaxOutstanding != sweep.DefaultMaxOutstanding, "-most-outstanding", "-rate or -trace"},
			{a.WhenFull != sweep.Drop, "-when-full", "-rate or -trace"},
			{a.LateAfter != sweep.DefaultLateAfter, "-late-after", "-rate or -trace"},
		} {
			if needs.given {
				return fmt.Errorf("%s: needs %s too", needs.flag, needs.others)
			}
		}
		*a = sweep.Arrival{WarmUp: a.WarmUp}
	case o.rate.text == "":
		a.Process = sweep.Recorded
	case a.Process != sweep.Poisson && a.Process != sweep.Constant:
		return fmt.Errorf("-arrival: must be poisson or constant, got %q; a ramp is -rate from..to", a.Process)
	default:
		a.Rate, a.RateEnd, a.TraceSpeed = o.rate.from, o.rate.to, 0
	}
	return nil
}

// completeSettings makes the settings of the plan.
func (o *options) completeSettings() error {
	switch {
	case len(o.phases.values) == 0:
		return fmt.Errorf("-phases: must name cold, warm or both, got %q", o.phases.text)
	case len(o.maxInFlight.values) == 0:
		return errors.New("-max-in-flight: must hold a value")
	case len(o.maxWait.values) == 0:
		return errors.New("-max-wait: must hold a value")
	case len(o.orders.values) == 0:
		return errors.New("-order: must hold a value")
	}
	p := &o.plan
	p.Settings = sweep.Multiply(o.sizes.values, o.maxInFlight.values, o.maxWait.values, o.orders.values)
	for _, other := range []struct {
		mode  sweep.Mode
		asked bool
	}{{sweep.ModeAuto, o.auto}, {sweep.ModeUnbatched, o.unbatched}, {sweep.ModeDirect, o.direct && o.sglang != ""}} {
		if other.asked { // the first values are where auto begins
			p.Settings = append(p.Settings, sweep.Setting{Mode: other.mode, MaxInFlight: o.maxInFlight.values[0], MaxWait: o.maxWait.values[0]})
		}
	}
	return nil
}

// simulated reports whether the simulator in this process is used.
func (o options) simulated() bool { return o.target == "" && o.sglang == "" }
