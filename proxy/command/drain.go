package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/suggest"
)

const drainUsage = `proxy drain asks a proxy on this machine to take no new requests, waits until
everything that it accepted has ended, and leaves it running.

  go run ./proxy drain -admin 127.0.0.1:9090

Use it where SGLang is stopped before the proxy, as Kubernetes does with a sidecar:
as SGLang's preStop hook it keeps SGLang running until no request waits for it.
Exit status: 0 drained, 1 not drained within -timeout or no proxy there, 2 bad flags.

Flags:
`

// drainOptions are the flags of drain.
type drainOptions struct {
	admin, keyFile string
	timeout        time.Duration
}

// Defaults of drain, each with its reason.
const (
	defaultDrainAdmin = "127.0.0.1:9090" // the proxy's own
	defaultDrainWait  = 5 * time.Minute  // few callers wait longer; what stops SGLang has a limit of its own
)

// adminKeyVariable is the environment variable that holds the key if no file does.
const adminKeyVariable = "PACELINE_ADMIN_KEY"

// variable returns the value of an environment variable, or "" if it is not set.
func variable(environ []string, name string) string {
	for _, v := range environ {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// runDrain runs the subcommand drain and returns its exit code.
func runDrain(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	o, err := parseDrain(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintln(stderr, "proxy drain:", err) //nolint:errcheck // nowhere else to tell
		return exitBadInput
	}
	key, err := readKey(o.keyFile)
	if err != nil {
		fmt.Fprintln(stderr, "proxy drain: -key-file:", err) //nolint:errcheck // as above
		return exitBadInput
	}
	if key == "" {
		key = variable(environ, adminKeyVariable)
	}
	if err := drain(ctx, o, key); err != nil {
		fmt.Fprintln(stderr, "proxy drain:", err) //nolint:errcheck // as above
		return exitFailed
	}
	return exitOK
}

func parseDrain(args []string, w io.Writer) (o drainOptions, err error) {
	f := flag.NewFlagSet("proxy drain", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.admin, "admin", defaultDrainAdmin, "`host:port` of the proxy's admin service, the same as its -admin")
	f.StringVar(&o.keyFile, "key-file", "",
		"`file` with an admin key, if the admin service asks for one; without the flag the key is in "+adminKeyVariable)
	f.DurationVar(&o.timeout, "timeout", defaultDrainWait, "max time until everything has ended; after it the proxy goes on draining")
	err = suggest.Flag(f, f.Parse(args))
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(w, drainUsage) //nolint:errcheck // nowhere else to tell
		f.SetOutput(w)
		f.PrintDefaults()
		return o, err
	case err != nil:
		return o, err
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q: flags only, see proxy drain -h", f.Arg(0))
	case o.timeout <= 0:
		return o, fmt.Errorf("-timeout: must be above 0, got %v", o.timeout)
	}
	if _, _, err := net.SplitHostPort(o.admin); err != nil {
		return o, fmt.Errorf("-admin: must be host:port, got %q", o.admin)
	}
	return o, nil
}

// drain returns once the proxy at the address has ended every accepted request.
func drain(ctx context.Context, o drainOptions, key string) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	}
	conn, err := grpc.NewClient("passthrough:///"+o.admin, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	_, err = pb.NewAdminServiceClient(conn).Drain(ctx, new(pb.DrainRequest))
	if err != nil {
		s := status.Convert(err)
		err = fmt.Errorf("the proxy at %s: %s: %s", o.admin, s.Code(), s.Message())
	}
	return errors.Join(err, conn.Close())
}
