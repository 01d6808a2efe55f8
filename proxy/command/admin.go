package command

import (
	"context"
	"encoding/json"
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
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/api"
	"paceline/proxy/suggest"
)

// adminCommand is a subcommand that calls the admin service of a running proxy.
type adminCommand struct {
	usage   string
	timeout time.Duration // default of -timeout
	prepare func(args []string) (adminCall, error)
}

// adminCall makes one call and writes its result.
type adminCall func(ctx context.Context, client pb.AdminServiceClient, stdout io.Writer) error

var adminCommands = map[string]adminCommand{
	"drain": {`proxy drain asks a proxy on this machine to take no new requests, waits until
everything that it accepted has ended, and leaves it running.

  go run ./proxy drain -admin 127.0.0.1:9090

Use it where SGLang is stopped before the proxy, as Kubernetes does with a sidecar:
as SGLang's preStop hook it keeps SGLang running until no request waits for it.
Exit status: 0 drained, 1 not drained within -timeout or no proxy there, 2 bad flags.
`, 5 * time.Minute, prepareDrain}, // few callers wait longer; what stops SGLang has a limit of its own
	"status": {`proxy status shows what a proxy on this machine holds, has done and is set to.

  go run ./proxy status -admin 127.0.0.1:9090

Exit status: 0 shown, 1 no proxy there, 2 bad flags.
`, 10 * time.Second, prepareStatus}, // it answers from memory
	"set": {`proxy set changes settings of a proxy on this machine while it serves: all or none.

  go run ./proxy set -admin 127.0.0.1:9090 batch_size=8 max_wait=5ms

docs/configuration.md says which settings are live. proxy status shows their values.
Exit status: 0 changed, 1 refused or no proxy there, 2 bad flags or values.
`, 10 * time.Second, prepareSet}, // as above
}

// adminOptions are the flags of an adminCommand.
type adminOptions struct {
	admin, keyFile string
	timeout        time.Duration
	call           adminCall
}

const defaultAdmin = "127.0.0.1:9090" // the proxy's own

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

// run runs the subcommand and returns its exit code.
func (c adminCommand) run(ctx context.Context, name string, args, environ []string, stdout, stderr io.Writer) int {
	o, err := c.parse(name, args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	var key string
	if err == nil {
		if key, err = readKey(o.keyFile); err != nil {
			err = fmt.Errorf("-key-file: %w", err)
		}
	}
	if err != nil {
		fmt.Fprintf(stderr, "proxy %s: %v\n", name, err) //nolint:errcheck // nowhere else to tell
		return exitBadInput
	}
	if key == "" {
		key = variable(environ, adminKeyVariable)
	}
	if err := o.run(ctx, key, stdout); err != nil {
		fmt.Fprintf(stderr, "proxy %s: %v\n", name, err) //nolint:errcheck // as above
		return exitFailed
	}
	return exitOK
}

func (c adminCommand) parse(name string, args []string, w io.Writer) (o adminOptions, err error) {
	f := flag.NewFlagSet("proxy "+name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.admin, "admin", defaultAdmin, "`host:port` of the proxy's admin service, the same as its -admin")
	f.StringVar(&o.keyFile, "key-file", "",
		"`file` with an admin key, if the admin service asks for one; without the flag the key is in "+adminKeyVariable)
	f.DurationVar(&o.timeout, "timeout", c.timeout, "max time until the proxy answers; a drain goes on after it")
	err = suggest.Flag(f, f.Parse(args))
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(w, c.usage+"\nFlags:\n") //nolint:errcheck // nowhere else to tell
		f.SetOutput(w)
		f.PrintDefaults()
		return o, err
	case err != nil:
		return o, err
	case o.timeout <= 0:
		return o, fmt.Errorf("-timeout: must be above 0, got %v", o.timeout)
	}
	if _, _, err := net.SplitHostPort(o.admin); err != nil {
		return o, fmt.Errorf("-admin: must be host:port, got %q", o.admin)
	}
	o.call, err = c.prepare(f.Args())
	return o, err
}

// run calls the proxy at the address.
func (o adminOptions) run(ctx context.Context, key string, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	}
	conn, err := grpc.NewClient("passthrough:///"+o.admin, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	if err = o.call(ctx, pb.NewAdminServiceClient(conn), stdout); err != nil {
		s := status.Convert(err)
		err = fmt.Errorf("the proxy at %s: %s: %s", o.admin, s.Code(), s.Message())
	}
	return errors.Join(err, conn.Close())
}

func noArguments(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q: flags only, see -h", args[0])
	}
	return nil
}

func prepareDrain(args []string) (adminCall, error) {
	return func(ctx context.Context, client pb.AdminServiceClient, _ io.Writer) error {
		_, err := client.Drain(ctx, new(pb.DrainRequest))
		return err
	}, noArguments(args)
}

func prepareStatus(args []string) (adminCall, error) {
	return func(ctx context.Context, client pb.AdminServiceClient, w io.Writer) error {
		s, err := client.GetStatus(ctx, new(pb.GetStatusRequest))
		if err != nil {
			return err
		}
		writeStatus(w, s)
		return nil
	}, noArguments(args)
}

// writeStatus writes a status for a terminal.
func writeStatus(w io.Writer, s *pb.GetStatusResponse) {
	state, b, u := "ready", s.GetBatcher(), s.GetUpstream()
	if !s.GetReady() {
		state = "not ready: " + s.GetNotReadyReason()
	}
	//nolint:errcheck // nowhere else to tell
	fmt.Fprintf(w, "%s\nproxy:     %s, since %s\nSGLang:    %s at %s, model %s\n"+
		"waiting:   %d requests, %d bytes, %d held for another's prefix\nat SGLang: %d requests in %d batches\n"+
		"so far:    %d accepted, %d answered, %d failed, %d cancelled, %d refused, %d merged\nsettings:\n",
		state, s.GetVersion(), s.GetStartTime().AsTime().Local().Format(time.RFC3339), u.GetVersion(), u.GetUrl(), u.GetModel(),
		b.GetQueuedRequests(), b.GetQueuedBytes(), b.GetHeldPrompts(), b.GetInFlightRequests(), b.GetInFlightBatches(),
		b.GetAccepted(), b.GetAnswered(), b.GetFailed(), b.GetCancelled(), b.GetRefused(), b.GetMerged())
	settings := s.GetSettings().ProtoReflect()
	for i := range settings.Descriptor().Fields().Len() {
		writeSetting(w, settings, settings.Descriptor().Fields().Get(i))
	}
}

func writeSetting(w io.Writer, settings protoreflect.Message, f protoreflect.FieldDescriptor) {
	fmt.Fprintf(w, "  %s=%s\n", f.Name(), api.SettingText(settings, f)) //nolint:errcheck // nowhere else to tell
}

func prepareSet(args []string) (adminCall, error) {
	fields := new(pb.Settings).ProtoReflect().Descriptor().Fields()
	var names []string
	for i := range fields.Len() {
		names = append(names, string(fields.Get(i).Name()))
	}
	values, mask := map[string]string{}, new(fieldmaskpb.FieldMask)
	for _, arg := range args {
		name, value, found := strings.Cut(arg, "=")
		switch _, twice := values[name]; {
		case !found:
			return nil, fmt.Errorf("%q: must be setting=value, such as max_wait=5ms", arg)
		case fields.ByTextName(name) == nil:
			near, distance := suggest.Nearest(names, name)
			if distance > suggest.MaxTypos {
				return nil, fmt.Errorf("%s: not a live setting: must be one of %s", name, strings.Join(names, ", "))
			}
			return nil, fmt.Errorf("%s: not a live setting: is %s meant?", name, near)
		case twice:
			return nil, fmt.Errorf("%s: is set twice", name)
		}
		values[name] = value
		mask.Paths = append(mask.Paths, name)
	}
	if len(args) == 0 {
		return nil, errors.New("names no setting: batch_size=8 max_wait=5ms, see -h")
	}
	data, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	settings, err := api.ParseSettings(data)
	return func(ctx context.Context, client pb.AdminServiceClient, w io.Writer) error {
		now, err := client.UpdateSettings(ctx, &pb.UpdateSettingsRequest{Settings: settings, UpdateMask: mask})
		if err != nil {
			return err
		}
		for _, name := range mask.GetPaths() {
			writeSetting(w, now.GetSettings().ProtoReflect(), fields.ByTextName(name))
		}
		return nil
	}, err
}
