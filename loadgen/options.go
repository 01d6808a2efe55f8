package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"paceline/loadgen/plausibility"
	"paceline/loadgen/prompt"
	"paceline/loadgen/report"
	"paceline/loadgen/report/figures"
	"paceline/loadgen/report/render"
	"paceline/loadgen/shard"
	"paceline/loadgen/stats"
	"paceline/loadgen/sweep"
	"paceline/loadgen/target"
	"paceline/proxy/server"
)

// options is the command line.
type options struct {
	prompts int
	sizes   string

	unbatched, auto, direct bool

	repeats, concurrency                 int
	maxInFlight, maxWait, orders, phases string // lists, as sizes
	stopWhen                             share
	timeout                              time.Duration
	maxNewTokens                         uint
	seed                                 uint64

	trajectories, problems, system, instance string
	tokenizer, chatTemplate                  string

	target, targetAdmin, sglang, sglangKeyFile string
	access                                     target.Access
	sglangLog                                  string
	simProfile                                 string
	simSpeed                                   float64

	turns, rollouts int
	envScale        float64
	mix             mix
	arrivalOptions

	jaeger string

	device, modelConfig string
	failIf              thresholds

	resume      string
	shard       shard.Part
	coordinator string // URL; empty without one

	out, language string

	args  []string     // as given, for the report
	facts []sweep.Fact // flags that a sweep must share to be the same
}

// The defaults, each with its reason.
const (
	defaultPrompts     = 500 // the benchmark of record
	defaultSizes       = "1,2,4,8,16"
	defaultRepeats     = 3      // the least that shows a spread
	defaultConcurrency = 64     // four full batches of the largest size
	defaultMaxInFlight = "2"    // the proxy's own default
	defaultMaxWait     = "5ms"  // the proxy's own default
	defaultOrder       = "fifo" // a plain control
	defaultPhases      = "cold,warm"
	defaultTimeout     = 10 * time.Minute // longer than any pass ought to queue
	defaultProfile     = "h100-qwen2.5-7b"
	defaultJaeger      = "http://127.0.0.1:16686" // its own default
	defaultTraced      = "0.01"                   // of the requests: enough to see slow ones, and costs next to nothing
	defaultSimSpeed    = 3                        // an H100 needs 14.5 s for one cold pass; faster clocks let the real cost of a call show (5 % at 3)
)

// parseOptions reads the command line. errors say which flag is wrong and what
// was expected; flag.ErrHelp means that help was printed to w.
func parseOptions(args []string, w io.Writer) (options, error) {
	o := options{}
	if err := o.parse(func() *flag.FlagSet { return o.flags("loadgen") }, args, usage, w); err != nil {
		return o, err
	}
	return o, o.validate()
}

// flags are the flags of a sweep, of which o keeps the values.
func (o *options) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard) // one message, ours
	f.IntVar(&o.prompts, "n", defaultPrompts, "how many trajectories, or requests of a trace, to send; fewer if the file holds fewer")
	f.IntVar(&o.turns, "turns", 1, "turns to send of each trajectory, each after the answer to the one before; 0: all")
	f.Float64Var(&o.envScale, "env-scale", 1, "how much of the environment's recorded time passes before the next turn; 0: none")
	f.IntVar(&o.rollouts, "rollouts", 1, "copies of each trajectory, begun together or -stagger apart")
	f.Var(&o.mix, "mix", "`shares` of trajectories to send as first turns, whole conversations and rollouts, such as first=70,turns=20,rollouts=10")
	o.define(f)
	f.StringVar(&o.sizes, "sizes", defaultSizes, "batch sizes to measure, separated by commas")
	f.BoolVar(&o.unbatched, "unbatched", true, "measure single calls too: no waiting, no in-flight cap")
	f.BoolVar(&o.auto, "auto", true, "measure the mode that chooses by itself too")
	f.BoolVar(&o.direct, "direct", true, "with -sglang, measure straight to SGLang too, without a proxy")
	f.IntVar(&o.repeats, "repeats", defaultRepeats, "how often each setting is measured")
	f.IntVar(&o.concurrency, "concurrency", defaultConcurrency, "callers in the closed loop, the same at every setting")
	f.StringVar(&o.maxInFlight, "max-in-flight", defaultMaxInFlight, "batches at SGLang at once; several, separated by commas, measure each batch size at each")
	f.StringVar(&o.maxWait, "max-wait", defaultMaxWait, "longest wait for a batch to fill; several, separated by commas, as -max-in-flight")
	f.StringVar(&o.orders, "order", defaultOrder, "order in which waiting requests are released, for fixed sizes: fifo, prefix (along shared prefixes, one leader first) or both")
	f.StringVar(&o.phases, "phases", defaultPhases, "states of the prefix cache to measure: cold, warm or both. Warm alone fills it unmeasured")
	f.Var(&o.stopWhen, "stop-when", fmt.Sprintf("end a setting's repeats once the 95 %% interval of its throughput reaches no further than this `share` to either side, such as 2%%, but not before %d; -repeats is the most. 0: never", stats.MinForInterval))
	f.DurationVar(&o.timeout, "timeout", defaultTimeout, "limit of one request")
	f.UintVar(&o.maxNewTokens, "max-new-tokens", 0, "tokens to generate for each prompt: 0 or 1")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the generated trajectories and of the order of settings")
	f.StringVar(&o.trajectories, "trajectories", "", "`file` of R2E-Gym trajectories, JSON lines (default: 500 generated ones)")
	f.StringVar(&o.problems, "problems", "", "`file` of problem statements, JSON lines with problem_statement")
	f.StringVar(&o.system, "system", "", "`file` with the system prompt (default: our own)")
	f.StringVar(&o.instance, "instance", "", "`file` with the instance prompt, holding {problem_statement} (default: our own)")
	f.StringVar(&o.chatTemplate, "chat-template", prompt.Qwen25.String(), "how messages become text: qwen2.5, qwen3 (without what earlier answers thought), plain, or a `file` with a line for each role (see loadgen/prompt/chatfile.go)")
	f.StringVar(&o.target, "target", "", "`host:port` of a running proxy (default: one in this process)")
	f.StringVar(&o.targetAdmin, "target-admin", "", "`host:port` of the running proxy's admin listener, to set batch sizes and flush")
	f.StringVar(&o.access.CA, "target-tls-ca", "", "PEM `file` with the authority of the running proxy's certificate, or system for the system's: speaks TLS to both its listeners, but to an admin listener given as http://host:port")
	f.StringVar(&o.access.Cert, "target-tls-cert", "", "PEM `file` with the certificate to show to the running proxy")
	f.StringVar(&o.access.Key, "target-tls-key", "", "PEM `file` with its key")
	f.StringVar(&o.access.BearerFile, "target-key-file", "", "`file` with the bearer key for the running proxy, sent to both its listeners")
	f.StringVar(&o.sglang, "sglang", "", "`URL` of a running SGLang (default: a simulator in this process)")
	f.StringVar(&o.sglangKeyFile, "sglang-key-file", "", "`file` with SGLang's API key")
	f.StringVar(&o.sglangLog, "sglang-log", "", "`file` to which SGLang writes its log, for the sequences in each of its forwards (#new-seq)")
	f.StringVar(&o.tokenizer, "tokenizer", server.TokenizerAuto, "tokenizer.json `file` of the model, for the proxy in this process to send token ids; auto: the one in SGLang's model folder where that can be read; none: texts")
	f.StringVar(&o.simProfile, "sim-profile", defaultProfile, "simulated server: a profile's name, or a JSON `file` with one")
	f.Float64Var(&o.simSpeed, "sim-speed", defaultSimSpeed, "simulated seconds per real second")
	f.Var(&o.failIf, "fail-if", "`condition` under which the exit status is 3, such as p99>2s, duep99>2s (from when requests were due), throughput<30, failed>1%, dropped>0 or cached<40%, for every setting's median; may be given again")
	f.StringVar(&o.device, "device", "", "what serves the model: a100, h100, h200 or a JSON `file`; the report then says whether its figures can be true")
	f.StringVar(&o.modelConfig, "model-config", "", "the model's config.json `file`, for -device (default: Qwen2.5-7B)")
	f.StringVar(&o.jaeger, "jaeger", defaultJaeger, "`URL` of Jaeger's page, for links to traces. Requests are traced where OTEL_EXPORTER_OTLP_ENDPOINT is set, one of a hundred unless OTEL_TRACES_SAMPLER says otherwise")
	f.StringVar(&o.resume, "resume", "", "`directory` of a sweep that was cut short: go on with it, measuring only what is missing. Without other flags, with those that it was begun with; a greater -repeats adds repeats")
	f.Var(&o.shard, "shard", "`i/n`: send only the conversations whose number leaves i when divided by n, with as many of the callers; i from 0. loadgen merge joins the reports")
	f.StringVar(&o.coordinator, "coordinator", "", "`URL` of loadgen coordinate, which then sets and flushes the proxies and takes what is measured; with -shard and -target")
	f.StringVar(&o.out, "out", "", "`directory` for the report (default results/<time>)")
	f.StringVar(&o.language, "lang", render.English.Code, "`language` of the report: en or zh")
	return f
}

// parse reads args, and keeps them, with the flags that it is given; they set o. With
// -resume alone, or with -repeats, the others are those that the sweep was begun with.
func (o *options) parse(flags func() *flag.FlagSet, args []string, usage string, w io.Writer) error {
	given := flags()
	if err := o.parseOnce(given, args, usage, w); err != nil {
		return err
	}
	dir, others, more := o.resume, 0, []string(nil)
	given.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "resume":
		case "repeats":
			more = []string{"-repeats", f.Value.String()}
		default:
			others++
		}
	})
	if dir == "" || others > 0 {
		return nil
	}
	held, err := sweep.ReadJournal(filepath.Join(dir, journalFile))
	if err != nil {
		return fmt.Errorf("-resume: %w", err)
	}
	*o = options{}
	if err := o.parseOnce(flags(), slices.Concat(held.Args, more), usage, w); err != nil {
		return fmt.Errorf("-resume: the flags of %s: %w", dir, err)
	}
	o.resume, o.out = dir, ""
	return nil
}

func (o *options) parseOnce(f *flag.FlagSet, args []string, usage string, w io.Writer) error {
	err := f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		printHelp(w, usage, f)
		return err
	}
	if err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: flags only, see -h", f.Arg(0))
	}
	o.args, o.facts = args, factsOf(f)
	return nil
}

// ownFlags say where something is, or what is told of a sweep, and not what it does.
// What is in the files of prompts is a fact of its own.
var ownFlags = []string{
	"out", "resume", "shard", "coordinator", "listen", "shards", "shard-timeout", "join-timeout", "jaeger", "fail-if", "device", "model-config", "lang",
	"target", "target-admin", "target-tls-ca", "target-tls-cert", "target-tls-key", "target-key-file", "sglang", "sglang-key-file", "sglang-log",
	"trajectories", "problems", "system", "instance", "trace",
}

// factsOf are the flags by which two sweeps are the same.
func factsOf(f *flag.FlagSet) (facts []sweep.Fact) {
	f.VisitAll(func(one *flag.Flag) {
		if !slices.Contains(ownFlags, one.Name) {
			facts = append(facts, sweep.Fact{Name: "-" + one.Name, Value: one.Value.String()})
		}
	})
	return facts
}

func (o options) validate() error {
	switch {
	case o.prompts < 1:
		return fmt.Errorf("-n: must be at least 1, got %d", o.prompts)
	case o.turns < 0:
		return fmt.Errorf("-turns: must be at least 0, got %d", o.turns)
	case o.rollouts < 1:
		return fmt.Errorf("-rollouts: must be at least 1, got %d", o.rollouts)
	case !(o.envScale >= 0) || o.envScale > 1000:
		return fmt.Errorf("-env-scale: must be from 0 to 1000, got %v", o.envScale)
	case o.maxNewTokens > 1:
		return fmt.Errorf("-max-new-tokens: must be 0 or 1, got %d", o.maxNewTokens)
	case o.trajectories != "" && o.problems != "":
		return fmt.Errorf("-trajectories and -problems: give one, not both")
	case o.resume != "" && o.out != "":
		return fmt.Errorf("-resume and -out: give one, not both: what is missing is written to the directory of -resume")
	case o.coordinator != "":
		if err := o.validateMember(); err != nil {
			return err
		}
	case o.target != "" && o.targetAdmin == "":
		return fmt.Errorf("-target: needs -target-admin too, to set batch sizes and flush the cache")
	case o.target == "" && o.targetAdmin != "":
		return fmt.Errorf("-target-admin: needs -target too")
	case o.simSpeed <= 0 || o.simSpeed > 1000:
		return fmt.Errorf("-sim-speed: must be above 0 and at most 1000, got %v", o.simSpeed)
	}
	if _, err := render.Named(o.language); err != nil {
		return fmt.Errorf("-lang: %w", err)
	}
	if err := o.access.Validate(o.target != ""); err != nil {
		return err
	}
	if n := o.shard.Of; n > o.concurrency {
		return fmt.Errorf("-shard: %d callers can't be split into %d shards, see -concurrency", o.concurrency, n)
	}
	if n := o.shard.Of; n > o.mostOutstanding {
		return fmt.Errorf("-shard: %d outstanding conversations can't be split into %d shards, see -most-outstanding", o.mostOutstanding, n)
	}
	if err := o.validateLoad(); err != nil {
		return err
	}
	if _, err := o.limits(); err != nil {
		return err
	}
	plan, err := o.plan()
	if err != nil {
		return err
	}
	return plan.Validate()
}

// thresholds is a flag that may be given again.
type thresholds []figures.Threshold

func (t *thresholds) String() string { return "" }

func (t *thresholds) Set(text string) error {
	one, err := figures.ParseThreshold(text)
	*t = append(*t, one)
	return err
}

// limits are those of -device; nil where none is named.
func (o options) limits() (*report.Limits, error) {
	if o.device == "" {
		if o.modelConfig != "" {
			return nil, fmt.Errorf("-model-config: needs -device too")
		}
		return nil, nil
	}
	d, err := plausibility.DeviceNamed(o.device)
	if err != nil {
		return nil, fmt.Errorf("-device: %w", err)
	}
	m, err := modelOf(o.modelConfig)
	if err != nil {
		return nil, fmt.Errorf("-model-config: %w", err)
	}
	return &report.Limits{Device: d, Model: m}, nil
}

// template is that of -chat-template, which has been validated.
func (o options) template() prompt.ChatTemplate {
	ct, _ := chatTemplate(o.chatTemplate)
	return ct
}

// chatTemplate is a named template, or that of a file.
func chatTemplate(name string) (prompt.ChatTemplate, error) {
	ct, err := prompt.ChatTemplateNamed(name)
	if err == nil {
		return ct, nil
	}
	ct, fileErr := prompt.ReadChatTemplate(name)
	if errors.Is(fileErr, fs.ErrNotExist) {
		return ct, fmt.Errorf("%w, and there is no such file", err)
	}
	return ct, fileErr
}

// validateLoad checks what is to be sent.
func (o options) validateLoad() error {
	switch {
	case o.trace != "" && (o.trajectories != "" || o.problems != ""):
		return fmt.Errorf("-trace: give it without -trajectories and -problems")
	case o.trace != "" && (o.turns != 1 || o.rollouts != 1 || o.mix.shares != nil):
		return fmt.Errorf("-trace: has neither turns nor rollouts to choose: give it without -turns, -rollouts and -mix")
	case o.speed != 1 && (o.trace == "" || o.rate != ""):
		return fmt.Errorf("-speed: needs -trace, without -rate")
	case o.stagger < 0:
		return fmt.Errorf("-stagger: must be at least 0s, got %v", o.stagger)
	case o.stagger > 0 && o.rollouts < 2 && o.mix.shares == nil:
		return fmt.Errorf("-stagger: needs -rollouts or -mix")
	}
	if _, err := chatTemplate(o.chatTemplate); err != nil {
		return fmt.Errorf("-chat-template: %w", err)
	}
	return nil
}

// lang is that of -lang, which has been validated.
func (o options) lang() *render.Language {
	l, _ := render.Named(o.language)
	return l
}

// simulated says whether the simulator in this process is used.
func (o options) simulated() bool { return o.target == "" && o.sglang == "" }

// plan is the sweep that the flags ask for.
func (o options) plan() (sweep.Plan, error) {
	p := sweep.Plan{Repeats: o.repeats, Concurrency: o.concurrency, Timeout: o.timeout, Seed: o.seed, Speed: 1, StopWhen: float64(o.stopWhen)}
	sizes, err := list("-sizes", o.sizes, "is not a whole number", strconv.Atoi)
	if err != nil {
		return p, err
	}
	if p.Arrival, err = o.sweepArrival(); err != nil {
		return p, err
	}
	inFlight, err := list("-max-in-flight", o.maxInFlight, "is not a whole number", strconv.Atoi)
	if err != nil {
		return p, err
	}
	waits, err := list("-max-wait", o.maxWait, "is not a time such as 5ms", time.ParseDuration)
	if err != nil {
		return p, err
	}
	orders, _ := list("-order", o.orders, "", word[sweep.Order])
	if p.Phases, _ = list("-phases", o.phases, "", word[sweep.Phase]); len(p.Phases) == 0 {
		return p, fmt.Errorf("-phases: must name cold, warm or both, got %q", o.phases)
	}
	for _, of := range []struct {
		flag string
		n    int
	}{{"-max-in-flight", len(inFlight)}, {"-max-wait", len(waits)}, {"-order", len(orders)}} {
		if of.n == 0 {
			return p, fmt.Errorf("%s: must hold a value", of.flag)
		}
	}
	p.Settings = sweep.Multiply(sizes, inFlight, waits, orders)
	// The settings without these dimensions are told the first of each, where they
	// begin and what is left in force.
	other := func(mode sweep.Mode) sweep.Setting {
		return sweep.Setting{Mode: mode, MaxInFlight: inFlight[0], MaxWait: waits[0]}
	}
	if o.auto {
		p.Settings = append(p.Settings, other(sweep.ModeAuto))
	}
	if o.unbatched {
		p.Settings = append(p.Settings, other(sweep.ModeUnbatched))
	}
	if o.direct && o.sglang != "" {
		p.Settings = append(p.Settings, other(sweep.ModeDirect))
	}
	return p, nil
}

// list reads values that commas separate; empty ones are skipped.
func list[T any](flag, text, not string, read func(string) (T, error)) (values []T, err error) {
	for field := range strings.SplitSeq(text, ",") {
		field = strings.TrimSpace(field)
		if field == "" {
			continue
		}
		v, err := read(field)
		if err != nil {
			return nil, fmt.Errorf("%s: %q %s", flag, field, not)
		}
		values = append(values, v)
	}
	return values, nil
}

func word[T ~string](s string) (T, error) { return T(s), nil }

// share is a flag such as 2%, ±2% or 0.02.
type share float64

func (s *share) String() string {
	if *s == 0 {
		return "0"
	}
	return strconv.FormatFloat(100*float64(*s), 'g', 6, 64) + "%"
}

func (s *share) Set(text string) error {
	number, percent := strings.CutSuffix(strings.TrimPrefix(strings.TrimSpace(text), "±"), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v < 1) {
		return fmt.Errorf("must be a share such as 2%%, got %q", text)
	}
	*s = share(v)
	return nil
}
