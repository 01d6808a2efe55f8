package command

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"paceline/batcher"
	"paceline/loadgen/cli"
	"paceline/loadgen/journal"
	"paceline/loadgen/load"
	"paceline/loadgen/plausibility"
	"paceline/loadgen/report"
	"paceline/loadgen/report/figures"
	"paceline/loadgen/report/render"
	"paceline/loadgen/stats"
	"paceline/loadgen/sweep"
	"paceline/loadgen/target"
)

// options is the command line of a sweep.
type options struct {
	load load.Options
	plan sweep.Plan // complete once the options are validated

	sizes, maxInFlight          cli.Parsed[[]int]
	maxWait                     cli.Parsed[[]time.Duration]
	orders                      cli.Parsed[[]sweep.Order]
	phases                      cli.Parsed[[]sweep.Phase]
	unbatched, defaults, direct bool
	stopWhen                    cli.Parsed[float64] // a share
	rate                        cli.Parsed[float64] // 0: none
	maxNewTokens                uint

	target, targetAdmin, targetHTTP  string
	access                           target.Access
	sglang, sglangKeyFile, sglangLog string
	tokenizer                        string
	simProfile                       string

	resume string

	out, language       string
	failIf              []figures.Threshold
	device, modelConfig string
	costPerHour         float64
	jaeger              string
	version             bool

	find      bool              // of loadgen find
	objective *report.Objective // of -slo; nil without

	args   []string       // as given, for the report
	plain  bool           // neither the load nor what is measured was chosen
	facts  []journal.Fact // the flags that a sweep must share to be the same
	limits *report.Limits // of -device; nil without
	lang   *render.Language
}

const defaultProfile = "h100-qwen2.5-7b"

// flags defines the flags of a sweep, each with its default and its help. A comment gives the
// reason for a default that is not obvious.
func (o *options) flags() *cli.FlagSet {
	name := "loadgen"
	if o.find {
		name = "find"
	}
	f := newFlagSet(name)
	if o.find {
		f.Title("What is looked for")
		f.Each("slo", func(text string) error {
			objective, err := report.ParseObjective(text)
			o.objective = &objective
			return err
		}, "`objective`: p50, p90 or p99 of the latencies from when requests were due, below a bound, such as p99<500ms; "+
			"a request that fails is never below it")
	}
	o.loadFlags(f)
	o.arrivalFlags(f)
	o.settingFlags(f)
	o.targetFlags(f)
	o.processFlags(f)
	o.reportFlags(f)
	return f
}

func (o *options) loadFlags(f *cli.FlagSet) {
	l := &o.load
	f.Title("What is sent")
	cli.Define(f, (*string)(&l.Work), string(target.Prefill), "work", "what is asked for: prefill, score (questions about states by "+
		"/v1/score), decide (by /v1/decisions) or generate (/generate, streamed); all but prefill by HTTP, and straight to SGLang too")
	cli.Define(f, &l.Count, 500, "n", // as in the benchmark of record
		"trajectories, requests of a trace, or states to send; fewer if the file holds fewer")
	cli.Define(f, &l.States.Questions, 16, "questions", "with -work score and decide, questions about each state")
	cli.Define(f, &l.States.Tokens, 2000, "state-tokens", "with -work score and decide, tokens of a state")
	cli.Define(f, &l.States.QuestionTokens, 100, "question-tokens", "with -work score and decide, tokens of a question")
	cli.Define(f, &l.Trajectories, "", "trajectories", "`file` of R2E-Gym trajectories, JSON lines (default: 500 generated ones)")
	cli.Define(f, &l.Problems, "", "problems", "`file` of problem statements, JSON lines with problem_statement")
	cli.Define(f, &l.Trace, "", "trace", "`file` of recorded requests, JSON lines with timestamp (ms), input_length and hash_ids "+
		"of 512 tokens each, as in Mooncake's traces; they are sent at their recorded times, unless -rate is given")
	cli.Define(f, &l.Turns, 1, "turns", "turns of each trajectory to send, each after the previous answer; 0: all")
	cli.Define(f, &l.EnvScale, 1, "env-scale", "share of the environment's recorded time to wait before the next turn; 0: none")
	cli.Define(f, &l.Rollouts, 1, "rollouts", "copies of each trajectory, started together")
	cli.Define(f, &l.System, "", "system", "`file` with the system prompt (default: our own)")
	cli.Define(f, &l.Instance, "", "instance", "`file` with the instance prompt, holding {problem_statement} (default: our own)")
	cli.Define(f, &l.ChatTemplate, "qwen2.5", "chat-template", "how messages become text: qwen2.5, qwen3 (without the thoughts "+
		"of earlier answers), plain, or a YAML `file` (see loadgen/prompt/chat.go)")
	cli.Define(f, &o.maxNewTokens, 0, "max-new-tokens", "tokens to generate for each prompt: 0 or 1, with -work generate more (32)")
}

func (o *options) arrivalFlags(f *cli.FlagSet) {
	a := &o.plan.Arrival
	f.Title("When it is sent")
	cli.Define(f, &o.plan.Concurrency, 64, "concurrency", // four full batches of the largest size
		"callers in the closed loop, the same at every setting")
	cli.Define(f, &o.rate, cli.Parse("", readRate), "rate",
		"open loop: conversations started per second, whether or not others were answered (default: closed loop, -concurrency callers)")
	cli.Define(f, (*string)(&a.Process), string(sweep.Poisson), "arrival", "with -rate, how starts are spaced: poisson or constant")
	cli.Define(f, &a.TraceSpeed, 1, "speed", "with -trace, how much faster than recorded")
	cli.Define(f, &a.MaxOutstanding, sweep.DefaultMaxOutstanding, "most-outstanding",
		"with -rate or -trace, maximum of conversations under way at once")
	cli.Define(f, (*string)(&a.WhenFull), string(sweep.Drop), "when-full",
		"what happens to a conversation that is due beyond -most-outstanding: drop (counted, not sent) or wait")
	cli.Define(f, &a.LateAfter, sweep.DefaultLateAfter, "late-after",
		"with -rate or -trace, a request counts as late if it is sent more than this after it was due")
	cli.Define(f, &a.WarmUp, 0, "warm-up", "with -rate or -trace, requests due in this first part of each run are left out of all figures")
}

func (o *options) settingFlags(f *cli.FlagSet) {
	f.Title("What is measured")
	const number = "is not a whole number"
	cli.Define(f, &o.sizes, cli.Parse("1,4,16", readSizes), "sizes", "batch sizes to measure, separated by commas, or none")
	cli.Define(f, &o.unbatched, true, "unbatched", "measure single calls too: no waiting, no in-flight cap")
	cli.Define(f, &o.defaults, true, "defaults", "measure the proxy's own defaults too")
	cli.Define(f, &o.direct, true, "direct", "with -sglang, measure calls straight to SGLang too, without a proxy; "+
		"with -work score, decide and generate also at the simulator")
	cli.Define(f, &o.plan.Repeats, 3, "repeats", "how often each setting is measured") // the fewest that show a spread
	cli.Define(f, &o.stopWhen, cli.Parse("0", readShare), "stop-when", fmt.Sprintf(
		"stop repeating a setting once the 95 %% interval of its throughput is within this `share` to either side, "+
			"such as 2%%, but not before %d repeats; -repeats is the maximum. 0: never", stats.MinForInterval))
	cli.Define(f, &o.maxInFlight, cli.Parse("2", cli.List(1, strconv.Atoi, number)), "max-in-flight", // the proxy's own default
		"batches at SGLang at once; with several, separated by commas, each batch size is measured at each")
	waits := cli.List(1, time.ParseDuration, "is not a time such as 5ms")
	cli.Define(f, &o.maxWait, cli.Parse("5ms", waits), "max-wait", // the proxy's own default
		"longest wait for a batch to fill; several as with -max-in-flight")
	cli.Define(f, &o.orders, cli.Parse("fifo", cli.List(1, cli.Word[sweep.Order], "")), "order", // a plain control
		"order in which waiting requests are released, for fixed sizes: fifo, prefix (along shared prefixes, one leader first) or both")
	cli.Define(f, &o.phases, cli.Parse("cold,warm", cli.List(1, cli.Word[sweep.Phase], "")), "phases",
		"states of the prefix cache to measure: cold, warm or both; for warm alone an unmeasured pass fills it")
	cli.Define(f, &o.plan.Timeout, 10*time.Minute, "timeout", "time limit of one request") // longer than any pass should queue
	cli.Define(f, &o.load.Seed, 1, "seed", "seed of the generated trajectories and of the order of settings")
}

func (o *options) targetFlags(f *cli.FlagSet) {
	f.Title("Where it is sent")
	cli.Define(f, &o.sglang, "", "sglang", "`URL` of a running SGLang (default: a simulator in this process)")
	cli.Define(f, &o.sglangKeyFile, "", "sglang-key-file", "`file` with SGLang's API key")
	cli.Define(f, &o.sglangLog, "", "sglang-log",
		"`file` that SGLang logs to, to count the sequences in each of its forwards (#new-seq)")
	cli.Define(f, &o.target, "", "target", "`host:port` of a running proxy (default: one in this process)")
	cli.Define(f, &o.targetAdmin, "", "target-admin", "`host:port` of the running proxy's admin listener, to set batch sizes and flush")
	cli.Define(f, &o.targetHTTP, "", "target-http", "`URL` of the running proxy's HTTP listener, for -work score, decide and generate")
	cli.Define(f, &o.access.BearerFile, "", "target-key-file", "`file` with the bearer key for the running proxy, sent to both its listeners")
	cli.Define(f, &o.access.CA, "", "target-tls-ca", "PEM `file` with the authority of the running proxy's certificate, or system for "+
		"the system's: turns on TLS for both its listeners, except for an admin listener given as http://host:port")
	cli.Define(f, &o.access.Cert, "", "target-tls-cert", "PEM `file` with the client certificate for the running proxy")
	cli.Define(f, &o.access.Key, "", "target-tls-key", "PEM `file` with its key")
	cli.Define(f, &o.tokenizer, tokenizerAuto, "tokenizer", "tokenizer.json `file` of the model, for the proxy in this process to send "+
		"token ids; auto: the one in SGLang's model folder if it can be read; none: send texts")
	cli.Define(f, &o.simProfile, defaultProfile, "sim-profile", "simulated server: a profile's name, or a JSON `file` with one")
}

func (o *options) processFlags(f *cli.FlagSet) {
	f.Title("After a cut")
	cli.Define(f, &o.resume, "", "resume", "`directory` of a sweep that was cut short: go on with it, measuring only what is missing, "+
		"with the flags that it was begun with; a greater -repeats adds repeats")
}

func (o *options) reportFlags(f *cli.FlagSet) {
	f.Title("What is made of it")
	cli.Define(f, &o.out, "", "out", "`directory` for the report (default results/<time>)")
	cli.Define(f, &o.language, render.English.Code, "lang", "`language` of the report: en or zh")
	f.Each("fail-if", func(text string) error {
		one, err := figures.ParseThreshold(text)
		o.failIf = append(o.failIf, one)
		return err
	}, "`condition` under which the exit status is 3, such as p99>2s, duep99>2s (from when requests "+
		"were due), throughput<30, failed>1%, dropped>0 or cached<40%, for every setting's median; may be given again")
	cli.Define(f, &o.device, "", "device", "what serves the model, such as h100 or 8xb200, or a JSON `file`, see check -h; the report "+
		"then says whether its figures can be true")
	cli.Define(f, &o.modelConfig, "", "model-config", "the model's config.json `file`, for -device (default: Qwen2.5-7B)")
	cli.Define(f, &o.costPerHour, 0, "cost-per-hour", "`USD` for an hour of the server: the report then says "+
		"what a million prompt tokens cost")
	cli.Define(f, &o.jaeger, "http://127.0.0.1:16686", "jaeger", "`URL` of Jaeger's page, for links to traces. Requests are traced where "+
		"OTEL_EXPORTER_OTLP_ENDPOINT is set, one of a hundred unless OTEL_TRACES_SAMPLER says otherwise")
	cli.Define(f, &o.version, false, "version", "print version, commit and date, and end")
}

// readSizes reads batch sizes. An empty text is probably a variable that is not set.
func readSizes(text string) ([]int, error) {
	if text == "none" {
		return nil, nil
	}
	sizes, err := cli.List(1, strconv.Atoi, "is not a whole number")(text)
	if err == nil || strings.Trim(text, ", ") != "" {
		return sizes, err
	}
	return nil, fmt.Errorf("must hold a batch size such as 16, or be none, got %q", text)
}

// readShare reads a share such as 2%, ±2% or 0.02.
func readShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(strings.TrimPrefix(strings.TrimSpace(text), "±"), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v < 1) {
		return 0, fmt.Errorf("must be a share such as 2%%, got %q", text)
	}
	return v, nil
}

// readRate reads a rate such as 20, in conversations per second; empty is no rate.
func readRate(text string) (r float64, err error) {
	if text == "" {
		return 0, nil
	}
	if r, err = strconv.ParseFloat(text, 64); err != nil {
		return r, fmt.Errorf("expected conversations a second such as 20, got %q", text)
	}
	return r, nil
}

// parseOptions reads the command line. An error names the flag and what was expected;
// flag.ErrHelp means that the help was written to w. With -resume, the flags of the resumed sweep
// come first.
func parseOptions(args []string, w io.Writer) (o options, err error) {
	if err := o.parse(args, w); err != nil {
		return o, err
	}
	if dir := o.resume; dir != "" {
		if o.out != "" {
			return o, fmt.Errorf("-resume and -out: give one, not both: the missing runs are written to the directory of -resume")
		}
		held, err := journal.Read(dir)
		if err == nil {
			o = options{}
			err = o.parse(slices.Concat(held.Args, args), io.Discard)
		}
		if err != nil {
			return o, fmt.Errorf("-resume: %w", err)
		}
		o.out = ""
	}
	return o, o.complete()
}

// parseFind reads the command line of loadgen find.
func parseFind(args []string, w io.Writer) (o options, err error) {
	o.find = true
	if err := o.parse(args, w); err != nil || o.version {
		return o, err
	}
	for _, no := range []struct {
		given bool
		flag  string
	}{
		{o.rate.Text != "", "-rate"}, {o.load.Trace != "", "-trace"}, {o.stopWhen.Value != 0, "-stop-when"},
		{o.resume != "", "-resume"}, {o.failIf != nil, "-fail-if"},
	} {
		if no.given {
			return o, fmt.Errorf("%s: has no meaning in find, which chooses the rates itself and measures once", no.flag)
		}
	}
	if o.objective == nil {
		return o, errors.New("-slo: is missing: expected an objective such as p99<500ms")
	}
	return o, o.complete()
}

func (o *options) parse(args []string, w io.Writer) error {
	f := o.flags()
	if err := f.Read(args, w); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: flags only, see -h", f.Arg(0))
	}
	if err := o.workDefaults(f); err != nil {
		return err
	}
	o.args, o.plain = args, true
	f.Visit(func(given *flag.Flag) { o.plain = o.plain && (given.Name == "out" || given.Name == "lang") })
	f.VisitAll(func(one *flag.Flag) {
		if !slices.Contains(ownFlags, one.Name) {
			o.facts = append(o.facts, journal.Fact{Name: "-" + one.Name, Value: one.Value.String()})
		}
	})
	return nil
}

// workDefaults gives the flags that were not given the values that fit the work. Lists of the proxy's do
// not hold these requests, so batch sizes make no difference: only the order does.
func (o *options) workDefaults(f *cli.FlagSet) error {
	proxy := batcher.DefaultSettings()
	defaults := map[string]string{
		"sizes": strconv.Itoa(proxy.BatchSize), "order": "fifo,prefix", "unbatched": "false", "defaults": "false",
		"max-in-flight": strconv.Itoa(proxy.MaxInFlight), "max-wait": proxy.MaxWait.String(),
	}
	switch o.load.Work {
	case target.Prefill:
		defaults = map[string]string{}
	case target.Score, target.Decide:
		defaults["n"], defaults["concurrency"] = "24", "4"
	case target.Generate:
		defaults["n"], defaults["rollouts"], defaults["max-new-tokens"] = "48", "8", "32"
	default:
		return fmt.Errorf("-work: must be prefill, score, decide or generate, got %q", o.load.Work)
	}
	if o.find { // a cold pass needs prompts that no pass has sent
		defaults["n"] = map[target.Work]string{target.Prefill: "1000", target.Generate: "60"}[o.load.Work]
		defaults["n"], defaults["phases"] = cmp.Or(defaults["n"], "400"), "cold"
	}
	f.Visit(func(given *flag.Flag) { delete(defaults, given.Name) })
	for name, value := range defaults {
		if err := f.Set(name, value); err != nil {
			return err
		}
	}
	return nil
}

// ownFlags are the flags that may differ when a sweep is resumed: they say where something is,
// or what is reported. The prompts themselves are compared by their hash.
var ownFlags = []string{
	"out", "resume", "jaeger", "fail-if", "cost-per-hour", "device", "model-config", "lang", "version",
	"target", "target-admin", "target-http", "target-tls-ca", "target-tls-cert", "target-tls-key", "target-key-file",
	"sglang", "sglang-key-file", "sglang-log", "trajectories", "problems", "system", "instance", "trace",
}

// complete validates the options and fills in what follows from them.
func (o *options) complete() error {
	lang, err := render.Named(o.language)
	if err != nil {
		err = fmt.Errorf("-lang: %w", err)
	}
	o.lang = lang
	o.completeSettings()
	o.plan.Seed, o.plan.StopWhen, o.plan.Phases = o.load.Seed, o.stopWhen.Value, o.phases.Value
	return cmp.Or(o.validate(), err, o.load.Validate(), o.completeLimits(), o.completeArrival(), o.plan.Validate())
}

func (o *options) validate() error {
	switch {
	case o.load.Work == target.Generate && (o.maxNewTokens < 1 || o.maxNewTokens > 1<<20):
		return fmt.Errorf("-max-new-tokens: must be at least 1 with -work generate, got %d", o.maxNewTokens)
	case o.load.Work != target.Generate && o.maxNewTokens > 1:
		return fmt.Errorf("-max-new-tokens: must be 0 or 1, except with -work generate, got %d", o.maxNewTokens)
	case o.load.Work != target.Prefill && o.target != "" && o.targetHTTP == "":
		return fmt.Errorf("-work %s: needs -target-http too, because it is sent by HTTP", o.load.Work)
	case o.targetHTTP != "" && o.target == "":
		return fmt.Errorf("-target-http: needs -target too")
	case o.target != "" && o.targetAdmin == "":
		return fmt.Errorf("-target: needs -target-admin too, to set batch sizes and flush the cache")
	case o.target == "" && o.targetAdmin != "":
		return fmt.Errorf("-target-admin: needs -target too")
	case !(o.costPerHour >= 0) || o.costPerHour > 1e6:
		return fmt.Errorf("-cost-per-hour: must be from 0 to 1000000, got %v", o.costPerHour)
	case o.plan.Arrival.TraceSpeed != 1 && (o.load.Trace == "" || o.rate.Text != ""):
		return fmt.Errorf("-speed: needs -trace, without -rate")
	}
	return o.access.Validate(o.target != "")
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
	case o.rate.Text == "" && o.load.Trace == "":
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
	case o.rate.Text == "":
		a.Process = sweep.Recorded
	case a.Process != sweep.Poisson && a.Process != sweep.Constant:
		return fmt.Errorf("-arrival: must be poisson or constant, got %q", a.Process)
	default:
		a.Rate, a.TraceSpeed = o.rate.Value, 0
	}
	return nil
}

// completeSettings makes the settings of the plan.
func (o *options) completeSettings() {
	p := &o.plan
	straight := o.sglang != "" || o.simulated() && o.load.Work != target.Prefill
	p.Settings = sweep.Multiply(o.sizes.Value, o.maxInFlight.Value, o.maxWait.Value, o.orders.Value)
	for _, other := range []struct {
		mode  sweep.Mode
		asked bool
	}{{sweep.ModeDefaults, o.defaults}, {sweep.ModeUnbatched, o.unbatched}, {sweep.ModeDirect, o.direct && straight}} {
		if other.asked { // the first values are applied too; these modes ignore them
			p.Settings = append(p.Settings, sweep.Setting{Mode: other.mode, MaxInFlight: o.maxInFlight.Value[0], MaxWait: o.maxWait.Value[0]})
		}
	}
}

// simulatedIDs reports whether prompts are sent as the simulator's token ids. The proxy would
// send a real SGLang ids too.
func (o options) simulatedIDs() bool { return o.simulated() && o.tokenizer == tokenizerAuto }

// simulated reports whether the simulator in this process is used.
func (o options) simulated() bool { return o.target == "" && o.sglang == "" }
