package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"paceline/batcher"
	"paceline/proxy/file"
	"paceline/proxy/server"
)

const usage = `proxy batches prefill requests in front of an SGLang server.

  go run ./proxy -upstream http://127.0.0.1:30000 -batch-size 16 -max-wait 5ms -max-in-flight 2
  curl -s 127.0.0.1:8080/v1/prefill -d '{"text": "def add(a, b):", "max_new_tokens": 1}'
  go run ./proxy status                       what a running proxy holds, has done and is set to
  go run ./proxy set max_wait=5ms             change its settings while it serves
  go run ./proxy drain -h                     drain it before SGLang is stopped

The proxy may start before SGLang. It becomes ready when SGLang is.
SIGTERM or Ctrl-C drains: every accepted request is answered. A second one ends at once.
Each flag can also be set in the environment (PACELINE_MAX_WAIT=5ms) or in the file of
-config. The file has more settings: -print-config shows all.
SIGHUP reads the file again and applies the settings that can change while it runs.
Exit status: 0 drained, 1 an address can't be bound or requests were cut, 2 bad flags.

Flags:
`

// options is the command line.
type options struct {
	config    server.Config
	mode      string
	share     string
	keyFile   string
	logFormat string
	version   bool
	print     bool

	set  *flag.FlagSet
	from map[string]string // the source of each value
}

// parseOptions reads the command line, the environment and the file of -config
// (sources.go). An error names the setting and what was expected. flag.ErrHelp means
// that help was printed to w.
func parseOptions(args, environ []string, w io.Writer) (*options, error) {
	o := &options{config: server.DefaultConfig()}
	o.set = o.flags()
	var err error
	o.from, err = resolve(o.set, args, environ)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(w, usage) //nolint:errcheck // nowhere else to tell
		printFlags(w, o.set)
		return o, err
	}
	if err != nil {
		return o, err
	}
	return o, o.finish()
}

// flags returns all settings with their defaults, their help and their variables. Those
// of fileOnly are not flags of the command line.
func (o *options) flags() *flag.FlagSet {
	f := flag.NewFlagSet("proxy", flag.ContinueOnError)
	o.upstreamFlags(f)
	o.listenerFlags(f)
	o.batchingFlags(f)
	f.StringVar(&o.logFormat, "log-format", "text", "text or json")
	f.String(configFlag, "", "YAML `file` with settings: max_wait: 5ms. SIGHUP reads it again")
	f.BoolVar(&o.print, "print-config", false, "print all settings as a file for -config, with the source of each, and end")
	f.BoolVar(&o.version, "version", false, "print version, commit and date, and end")
	return f
}

// fileOnly are the settings that are tuned once a year. They are set in the file or in
// the environment.
var fileOnly = []string{
	"batch-tokens", "batch-bytes", "forwards-in-flight", "merge-identical", "prefix-blocks", "max-age", "retries", "breaker-failures",
	"share-across-keys", "pass-admin", "allow-fields", "max-connection-age", "max-message-bytes", "call-load-reports",
	"trace-detail",
}

func (o *options) upstreamFlags(f *flag.FlagSet) {
	c := &o.config.Upstream
	f.StringVar(&c.URL, "upstream", c.URL, "`URL` of SGLang")
	f.StringVar(&o.keyFile, "upstream-key-file", "", "`file` with SGLang's API key")
	f.StringVar(&c.Tokenizer, "tokenizer", c.Tokenizer,
		"tokenizer.json `file` of the model (Qwen2 to Qwen3), to send texts as token ids; "+
			"auto: the one in SGLang's model folder if it can be read; none: send texts")
	f.IntVar(&c.VocabSize, "vocab-size", c.VocabSize,
		"number of token ids that the model knows; 0 reads it from the model's config.json if it can be read")
	f.DurationVar(&c.MaxOutage, "max-outage", c.MaxOutage,
		"max time that accepted requests wait for SGLang to come back; 0 fails them at once")
	f.BoolVar(&c.ShareAcrossKeys, "share-across-keys", c.ShareAcrossKeys,
		"callers of different keys wait for each other's new prefixes, and are merged; SGLang's own cache is shared in any case")
}

func (o *options) listenerFlags(f *flag.FlagSet) {
	c := &o.config
	f.StringVar(&c.Listen, "listen", c.Listen, "`host:port` of gRPC")
	f.StringVar(&c.HTTP, "http", c.HTTP, "`host:port` of REST and of SGLang's own HTTP interface; empty turns it off")
	f.StringVar(&c.Admin, "admin", c.Admin,
		"`host:port` of the admin service, on loopback unless -tls-client-ca or -keys is given; empty turns it off")
	f.StringVar(&c.Metrics, "metrics", c.Metrics,
		"`host:port` of /metrics for Prometheus, and of /healthz and /readyz without key or certificate; empty turns it off")
	f.StringVar(&c.TLSCert, "tls-cert", "", "PEM `file` with the certificate for -listen and -http; read again when it changes")
	f.StringVar(&c.TLSKey, "tls-key", "", "PEM `file` with the key of -tls-cert")
	f.StringVar(&c.TLSClientCA, "tls-client-ca", "", "PEM `file` with the authority that must have issued the certificates of clients")
	f.StringVar(&c.KeysFile, "keys", "",
		"YAML `file` with the bearer keys of callers: name, key, weight, requests_per_second, admin; read again when it changes")
	f.DurationVar(&c.DrainDelay, "drain-delay", c.DrainDelay,
		"how long new requests are accepted after health says NOT_SERVING, for balancers that notice it late")
	f.DurationVar(&c.DrainTimeout, "drain-timeout", c.DrainTimeout, "max time from SIGTERM to the end")
	f.BoolVar(&c.PassAdmin, "pass-admin", c.PassAdmin, "pass SGLang's administrative paths on, for all clients of -http")
	f.Var((*wordList)(&c.AllowFields), "allow-fields",
		"`fields` of SGLang's requests, separated by commas, that are refused otherwise because they can end SGLang")
	f.DurationVar(&c.MaxConnectionAge, "max-connection-age", c.MaxConnectionAge,
		"max age of a gRPC connection, after which the client connects again and finds new proxies; 0 sets no bound")
	f.IntVar(&c.MaxMessageBytes, "max-message-bytes", c.MaxMessageBytes, "max bytes of a request")
	f.BoolVar(&c.CallLoadReports, "call-load-reports", c.CallLoadReports,
		"report the proxy's load in the trailers of each call (ORCA), for balancers that weigh by it")
	f.StringVar(&c.TraceDetail, "trace-detail", c.TraceDetail,
		"members: the trace of a batch has a span for each prompt; links: only links to them. The OTEL_* variables say where traces go")
}

func (o *options) batchingFlags(f *flag.FlagSet) {
	s := &o.config.Settings
	f.StringVar(&o.mode, "mode", s.Mode.String(),
		"fixed: batches of up to -batch-size; unbatched: single calls, no waiting, no bound on calls in flight")
	f.IntVar(&s.BatchSize, "batch-size", s.BatchSize, "max requests in a batch")
	f.DurationVar(&s.MaxWait, "max-wait", s.MaxWait, "max wait for a batch to fill; 0 waits only for a free slot")
	f.IntVar(&s.MaxInFlight, "max-in-flight", s.MaxInFlight, "max batches at SGLang at once")
	f.IntVar(&s.QueueRequests, "queue-requests", s.QueueRequests, "max requests waiting; more are refused")
	f.Int64Var(&s.QueueBytes, "queue-bytes", s.QueueBytes, "max prompt bytes waiting; more are refused")
	f.StringVar(&o.share, "share", s.Share.String(),
		"which requests that share a new prefix wait until it was read for one of them: all, prefill (those that are batched) or off")
	f.Int64Var(&s.BatchTokens, "batch-tokens", s.BatchTokens, "max prompt tokens in a batch; 0 sets no bound")
	f.Int64Var(&s.BatchBytes, "batch-bytes", s.BatchBytes, "max prompt bytes in a batch; 0 sets no bound")
	f.IntVar(&s.ForwardsInFlight, "forwards-in-flight", s.ForwardsInFlight,
		"max forwards of SGLang (chunked_prefill_size tokens each) that all batches in flight are expected to fill; 0 sets no bound")
	f.BoolVar(&s.MergeIdentical, "merge-identical", s.MergeIdentical,
		"send requests that wait together and ask for the same thing as one prompt")
	f.IntVar(&s.PrefixBlocks, "prefix-blocks", s.PrefixBlocks, "max blocks of 64 tokens remembered as cached at SGLang")
	f.DurationVar(&s.MaxAge, "max-age", s.MaxAge, "once a request has waited this long, every fourth prompt is the oldest")
	f.IntVar(&s.Retries, "retries", s.Retries, "max times that a call is repeated because SGLang failed it")
	f.IntVar(&s.BreakerFailures, "breaker-failures", s.BreakerFailures,
		"failed calls in a row after which nothing is sent to SGLang for a while")
}

// printFlags prints the help of the flags of the command line.
func printFlags(w io.Writer, all *flag.FlagSet) {
	shown := flag.NewFlagSet("", flag.ContinueOnError)
	shown.SetOutput(w)
	all.VisitAll(func(g *flag.Flag) {
		if !slices.Contains(fileOnly, g.Name) {
			shown.Var(g.Value, g.Name, g.Usage)
			shown.Lookup(g.Name).DefValue = g.DefValue
		}
	})
	shown.PrintDefaults()
}

// finish turns what was parsed into a valid configuration.
func (o *options) finish() error {
	var err error
	if o.config.Settings.Mode, err = batcher.ModeNamed(o.mode); err != nil {
		return fmt.Errorf("-%w", err)
	}
	if o.config.Settings.Share, err = batcher.ShareNamed(o.share); err != nil {
		return fmt.Errorf("-%w", err)
	}
	if o.logFormat != "text" && o.logFormat != "json" {
		return fmt.Errorf("-log-format: must be text or json, got %q", o.logFormat)
	}
	if o.config.Upstream.Key, err = readKey(o.keyFile); err != nil {
		return fmt.Errorf("-upstream-key-file: %w", err)
	}
	if err := o.config.Validate(); err != nil {
		return fmt.Errorf("-%w", err) // a *server.ConfigError begins with the flag's name
	}
	return nil
}

// readKey reads a key from a file. It returns "" if path is empty.
func readKey(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	data, err := file.ReadSoon(path)
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(data))
	if key == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return key, nil
}

func (o *options) logger(w io.Writer) *slog.Logger {
	if o.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, nil))
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

// wordList is a flag's value of words separated by commas.
type wordList []string

// String implements flag.Value.
func (l *wordList) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *wordList) Set(text string) error {
	*l = strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' })
	return nil
}
