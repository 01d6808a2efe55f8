package api

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
)

// streamWindow is the max number of requests of one stream that are handled at once. At
// that number the stream is not read, so HTTP/2 flow control slows down a client that
// sends faster than it reads replies. No request is refused for it.
const streamWindow = 1024

// maxUnsent is the number of replies of one stream that wait to be sent at which the stream
// is not read until the client has read some: four batches. A client that never reads its
// replies costs no more than what fills the windows of its connection.
const maxUnsent = 64

type prefillStream = grpc.BidiStreamingServer[pb.PrefillStreamRequest, pb.PrefillStreamResponse]

// PrefillStream implements PrefillServiceServer. It ends when the client has sent its last
// request and has every reply, when the client has gone, or when the process stops and
// every accepted request has its reply.
func (s *Service) PrefillStream(stream prefillStream) error {
	// Headers are sent at once, so that a client (such as the REST gateway) knows before
	// the first reply that its call was accepted.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	c := &conversation{
		Service: s, stream: stream, maxReply: maxReply(stream.Context()),
		waiting: map[string]struct{}{}, window: make(chan struct{}, streamWindow), some: make(chan struct{}, 1),
		sent: make(chan struct{}, 1),
	}
	over := make(chan struct{})
	defer close(over)
	go c.replyAll(over)
	heard := make(chan error, 1)
	go func() { heard <- c.listen() }() // ends with the stream at the latest
	var err error
	select {
	case err = <-heard:
	case <-s.stopping.Done():
		err = upstream.ToStatus(batcher.ErrDraining).Err()
	}
	c.finish()
	return err
}

// maxReceive is the metadata with the max bytes of a message that the client receives.
const maxReceive = "paceline-max-receive-bytes"

// maxReply returns the max bytes of a reply to the client of a call. Most clients receive
// 4 MiB if they do not ask for more.
func maxReply(ctx context.Context) int {
	if said := metadata.ValueFromIncomingContext(ctx, maxReceive); len(said) > 0 {
		if n, err := strconv.Atoi(said[0]); err == nil && n > 0 {
			return n
		}
	}
	return 4 << 20
}

// conversation is the state of one stream.
type conversation struct {
	*Service
	stream prefillStream

	maxReply int // bytes that the client receives

	window chan struct{} // one slot for each request being handled

	mu      sync.Mutex
	waiting map[string]struct{} // ids; guarded by mu
	ended   []asked             // to be replied to; guarded by mu

	some    chan struct{} // signals that ended is not empty
	sending sync.Mutex    // one sender at a time

	unsent atomic.Int32  // requests that have ended and have no reply yet
	sent   chan struct{} // signals that unsent fell below maxUnsent
}

// asked is a request of the stream. It has no goroutine while it waits: ten thousand
// goroutines would take 40 MiB.
type asked struct {
	id       string
	logprobs bool // asked for
	endSpan  func(error)
	outcome  func() upstream.Outcome
}

// listen reads requests and starts each. It returns nil when the client has sent its
// last.
func (c *conversation) listen() error {
	for {
		for c.unsent.Load() >= maxUnsent {
			select {
			case <-c.sent:
			case <-c.stream.Context().Done():
				return c.stream.Context().Err()
			}
		}
		m, err := c.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case c.window <- struct{}{}:
		case <-c.stream.Context().Done():
			return c.stream.Context().Err()
		}
		req := m.GetRequest()
		if err := c.reserve(req.GetRequestId()); err != nil {
			c.send(req.GetRequestId(), nil, upstream.ToStatus(err))
			<-c.window
			continue
		}
		c.serve(req)
	}
}

// reserve notes a request id as waiting for its reply.
func (c *conversation) reserve(id string) error {
	if id == "" {
		return upstream.WrongField("request.request_id", "must not be empty in a stream")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, taken := c.waiting[id]; taken {
		return upstream.WrongField("request.request_id", "must be unique among the stream's unanswered requests")
	}
	c.waiting[id] = struct{}{}
	return nil
}

// release makes a request id free again. It runs before the reply is sent, so that a client
// that has the reply may reuse the id.
func (c *conversation) release(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// serve submits one request and does not wait for its answer.
func (c *conversation) serve(req *pb.PrefillRequest) {
	ctx, endSpan := c.tracer.StartStreamed(c.stream.Context())
	id, logprobs := req.GetRequestId(), req.GetLogprobs() != nil // the prompt must not wait for a client that does not read
	parse := func(l upstream.Limits) (*upstream.Prompt, error) { return validate(req, l) }
	c.up.SubmitFunc(ctx, HostOf(ctx), parse, func(outcome func() upstream.Outcome) {
		c.complete(asked{id, logprobs, endSpan, outcome})
	})
}

// complete hands a request that has ended to replyAll. It does not block.
func (c *conversation) complete(a asked) {
	c.unsent.Add(1)
	c.mu.Lock()
	c.ended = append(c.ended, a)
	c.mu.Unlock()
	select {
	case c.some <- struct{}{}:
	default:
	}
}

// replyAll replies to requests as they end, until the stream is over.
func (c *conversation) replyAll(over <-chan struct{}) {
	var these []asked
	for {
		select {
		case <-c.some:
		case <-over:
			return
		}
		c.mu.Lock()
		these, c.ended = c.ended, these[:0]
		c.mu.Unlock()
		for i, a := range these {
			c.reply(a)
			these[i] = asked{}
		}
	}
}

// reply sends the reply to a request and frees its slot.
func (c *conversation) reply(a asked) {
	defer func() {
		<-c.window
		if c.unsent.Add(-1) == maxUnsent-1 {
			select {
			case c.sent <- struct{}{}:
			default:
			}
		}
	}()
	o := a.outcome()
	c.release(a.id)
	if o.Err != nil {
		st := upstream.ToStatus(o.Err)
		a.endSpan(st.Err())
		c.send(a.id, nil, st)
		return
	}
	a.endSpan(nil)
	c.send(a.id, reply(a.id, a.logprobs, o.Answer, o.Receipt), nil)
}

// send sends the outcome of one request: its response or its error. It ignores a failure to
// send, which means that the stream has ended: listen notices that too.
func (c *conversation) send(id string, r *pb.PrefillResponse, failed *status.Status) {
	end := &pb.PrefillStreamResponse{RequestId: id}
	if failed == nil {
		end.Result = &pb.PrefillStreamResponse_Response{Response: r}
	} else {
		end.Result = &pb.PrefillStreamResponse_Error{Error: errorOf(failed)}
	}
	if size := proto.Size(end); size > c.maxReply && failed == nil {
		c.send(id, nil, status.Newf(codes.ResourceExhausted, "the reply has %d bytes, and the client receives at most %d: raise its limit "+
			"(grpc.MaxCallRecvMsgSize or grpc.max_receive_message_length) and say it in the metadata %s", size, c.maxReply, maxReceive))
		return
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	_ = c.stream.Send(end)
}

func errorOf(s *status.Status) *pb.Error {
	p := s.Proto()
	return &pb.Error{Code: p.GetCode(), Message: p.GetMessage(), Details: p.GetDetails()}
}

// finish waits until no request is handled. Afterwards none can be started.
func (c *conversation) finish() {
	for range cap(c.window) {
		c.window <- struct{}{}
	}
}
