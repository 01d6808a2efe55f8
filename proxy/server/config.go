package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"paceline/batcher"
	"paceline/proxy/telemetry"
	"paceline/proxy/upstream"
)

// Config is the configuration of a proxy. Start from DefaultConfig.
type Config struct {
	// Upstream is the configuration of SGLang.
	Upstream upstream.Config

	// Listen is the host:port of gRPC. Port 0 lets the system choose.
	Listen string

	// HTTP is the host:port of REST; empty turns it off.
	HTTP string

	// Admin is the host:port of AdminService, gRPC and REST; empty turns it off. Its
	// callers may drain the proxy. On loopback it asks for nothing. Elsewhere it asks for
	// a certificate of TLSClientCA, or else an admin key of KeysFile.
	Admin string

	// Metrics is the host:port of /metrics for Prometheus, and of /healthz and /readyz;
	// empty turns it off. It asks for no key and no certificate: it shows no prompt and
	// changes nothing.
	Metrics string

	// TLSCert and TLSKey are the files of the certificate for Listen and HTTP, and for
	// Admin beyond loopback; empty for no TLS. With TLSClientCA clients need a
	// certificate of that authority. A changed file is used from the next connection on.
	TLSCert, TLSKey, TLSClientCA string

	// KeysFile lists the bearer keys of callers (YAML: name, key, weight,
	// requests_per_second, admin); empty asks for none. It is read again when it changes.
	KeysFile string

	// Bind opens a listener at one of the addresses above.
	Bind func(addr string) (net.Listener, error)

	// Settings are the batching settings at the start.
	Settings batcher.Settings

	// PassAdmin makes the data port pass SGLang's administrative paths on instead of
	// refusing them.
	PassAdmin bool

	// AllowFields are fields of SGLang's requests that the HTTP interface refuses
	// otherwise, because SGLang does not check them and they can end it, and paths under
	// /v1/ that the proxy does not know.
	AllowFields []string

	// DrainDelay is how long new requests are accepted after health says NOT_SERVING, in
	// a drain and at the end, for balancers and resolvers that notice it late. gRPC
	// clients need no delay at the end: their connections tell them to leave (GOAWAY),
	// and requests that they sent before are accepted.
	DrainDelay time.Duration

	// DrainTimeout is the max time from the end of Run's context to the end of Run.
	// Requests that are not answered by then are cut.
	DrainTimeout time.Duration

	// MaxConnectionAge is the max age of a gRPC connection. Then its client is asked to
	// connect again, so that clients find new proxies. Calls on the old connection are
	// not cut. 0 sets no bound.
	MaxConnectionAge time.Duration

	// CallLoadReports reports the load of the proxy in the trailers of each call (ORCA),
	// for balancers that weigh by it. Balancers that ask periodically are answered in any
	// case.
	CallLoadReports bool

	// TracerProvider makes the spans; nil makes none. Propagator reads the traces of
	// callers and passes ours to SGLang; nil means W3C's traceparent.
	TracerProvider trace.TracerProvider
	Propagator     propagation.TextMapPropagator

	// Spans returns the counts of exported and lost spans for the metrics; nil means that
	// there are none.
	Spans func() telemetry.Spans

	// TraceDetail is TraceDetailMembers (the same as empty): the trace of a batch has a
	// span for each prompt; or TraceDetailLinks: it has only links to them.
	TraceDetail string

	// MaxMessageBytes is the max bytes of a request, over gRPC and REST.
	MaxMessageBytes int

	// Logger receives the proxy's own log; nil logs nothing.
	Logger *slog.Logger

	// Sources has the source of each setting of Settings that is not at its default, by the
	// name of its flag: flag, environment or file. The admin page shows it.
	Sources map[string]string

	// Version is the version in the status.
	Version string
}

// Values of Config.TraceDetail.
const (
	TraceDetailMembers = "members"
	TraceDetailLinks   = "links"
)

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Upstream:         upstream.DefaultConfig(),
		Listen:           "127.0.0.1:50051", // gRPC's customary port
		HTTP:             "127.0.0.1:8080",
		Admin:            "127.0.0.1:9090",
		Metrics:          "127.0.0.1:9464", // customary for OpenTelemetry's metrics page
		Bind:             bindTCP,
		Settings:         batcher.DefaultSettings(),
		DrainTimeout:     25 * time.Second, // within the 30 s that Kubernetes gives
		TraceDetail:      TraceDetailMembers,
		MaxConnectionAge: 30 * time.Minute,
		MaxMessageBytes:  64 << 20, // a prompt of 16 million token ids
		Version:          "devel",
	}
}

func bindTCP(addr string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
}

// ConfigError names a configuration value that can't be used.
type ConfigError struct {
	Field   string // name of its flag: batch-size
	Problem string // the expected and the given value
}

// Error implements error.
func (e *ConfigError) Error() string { return e.Field + ": " + e.Problem }

// Validate returns a *ConfigError for the first value that can't be used, or nil.
func (c Config) Validate() error {
	if err := c.Upstream.Validate(); err != nil {
		return settingFlag(err)
	}
	if err := c.validateAddresses(); err != nil {
		return err
	}
	if err := c.Settings.Validate(); err != nil {
		return settingFlag(err)
	}
	maxDelay := c.DrainTimeout - sending(c.DrainTimeout)
	switch {
	case c.DrainTimeout <= 0:
		return &ConfigError{"drain-timeout", fmt.Sprintf("must be above 0, got %v", c.DrainTimeout)}
	case c.DrainDelay < 0 || c.DrainDelay >= maxDelay:
		return &ConfigError{"drain-delay",
			fmt.Sprintf("must be from 0 to less than %v, which -drain-timeout leaves for answers, got %v", maxDelay, c.DrainDelay)}
	case c.TraceDetail != "" && c.TraceDetail != TraceDetailMembers && c.TraceDetail != TraceDetailLinks:
		return &ConfigError{"trace-detail", fmt.Sprintf("must be members or links, got %q", c.TraceDetail)}
	case c.MaxConnectionAge < 0:
		return &ConfigError{"max-connection-age", fmt.Sprintf("must be at least 0, got %v", c.MaxConnectionAge)}
	case c.MaxMessageBytes < 1:
		return &ConfigError{"max-message-bytes", fmt.Sprintf("must be at least 1, got %d", c.MaxMessageBytes)}
	}
	return nil
}

func (c Config) validateAddresses() error {
	if c.Listen == "" {
		return &ConfigError{"listen", "must be host:port, got nothing"}
	}
	for _, a := range []struct{ field, addr string }{
		{"listen", c.Listen}, {"http", c.HTTP}, {"admin", c.Admin}, {"metrics", c.Metrics},
	} {
		if a.addr == "" {
			continue
		}
		if err := validateAddress(a.addr); err != nil {
			return &ConfigError{a.field, err.Error()}
		}
	}
	if c.Admin != "" && !isLocal(c.Admin) && c.TLSClientCA == "" && c.KeysFile == "" {
		return &ConfigError{"admin", fmt.Sprintf(
			"must be a loopback address (127.0.0.1:9090) without -tls-client-ca and -keys, got %q", c.Admin)}
	}
	return nil
}

// isLocal reports whether a host:port is on loopback. There the admin listener asks for no
// key.
func isLocal(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	return loopback(host)
}

func validateAddress(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("must be host:port, got %q", addr)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("must end in a port from 0 to 65535, got %q", addr)
	}
	return nil
}

// loopback reports whether host can only be reached from this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// settingFlag converts the error of a setting to a *ConfigError with the name of its flag.
func settingFlag(err error) error {
	var (
		setting *batcher.SettingError
		field   *upstream.FieldError
	)
	switch {
	case errors.As(err, &setting):
		return &ConfigError{flagName(setting.Field), setting.Problem}
	case errors.As(err, &field):
		return &ConfigError{flagName(field.Field), field.Problem}
	}
	return err
}

func flagName(setting string) string { return strings.ReplaceAll(setting, "_", "-") }

func (c Config) logger() *slog.Logger { return telemetry.Quiet(c.acts()) }

// acts returns the logger of administrative acts, which leaves out none.
func (c Config) acts() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}
