package server

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
)

// streamWindow is the most requests of one stream that are handled at once. A
// stream that has so many is not read from, so a client that sends faster than
// it reads is held back by HTTP/2 flow control and not by refusals.
const streamWindow = 1024

type prefillStream = grpc.BidiStreamingServer[pb.PrefillStreamRequest, pb.PrefillStreamResponse]

// PrefillStream implements PrefillServiceServer. It ends when the client has
// sent its last request and has every reply, when the client goes, or when the
// process stops and every accepted request has its reply.
func (p *prefillService) PrefillStream(stream prefillStream) error {
	// At once, so that a client (the REST gateway, for one) need not wait for
	// the first reply to know that its call was taken.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	c := &conversation{
		service: p, stream: stream, waiting: map[string]struct{}{}, window: make(chan struct{}, streamWindow),
		some: make(chan struct{}, 1),
	}
	over := make(chan struct{})
	defer close(over)
	go c.reply(over)
	heard := make(chan error, 1)
	go func() { heard <- c.listen() }() // ends with the stream at the latest
	var err error
	select {
	case err = <-heard:
	case <-p.stopping.Done():
		err = statusOf(batcher.ErrDraining).Err()
	}
	c.finish()
	return err
}

// conversation is one stream.
type conversation struct {
	service *prefillService
	stream  prefillStream
	window  chan struct{} // one slot for each request being handled

	mu      sync.Mutex // guards these, not the stream
	waiting map[string]struct{}
	landed  []*asked // to be replied to

	some    chan struct{} // there are some in landed
	sending sync.Mutex    // one sender at a time
}

// asked is a request of the stream. While it waits there is no goroutine for it: ten
// thousand of them would take 40 MiB.
type asked struct {
	req *pb.PrefillRequest
	ctx context.Context //nolint:containedctx // of its span
	end func(error)     // ends its span
	at  submission
	how landing
}

// listen reads requests until there are no more and starts each. nil means that
// the client has sent its last.
func (c *conversation) listen() error {
	for {
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
		if err := c.enter(req.GetRequestId()); err != nil {
			c.say(req.GetRequestId(), nil, err)
			<-c.window
			continue
		}
		go c.serve(req)
	}
}

// enter takes a request id among those waiting.
func (c *conversation) enter(id string) error {
	if id == "" {
		return wrongField("request.request_id", "must not be empty in a stream")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, taken := c.waiting[id]; taken {
		return wrongField("request.request_id", "must be unique among the stream's unanswered requests")
	}
	c.waiting[id] = struct{}{}
	return nil
}

// leave gives a request id back. It comes before the reply, so that a client
// that has the reply may use the id again.
func (c *conversation) leave(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// serve has one request answered.
func (c *conversation) serve(req *pb.PrefillRequest) {
	a := &asked{req: req}
	a.ctx, a.end = c.service.pool.tracer.one(c.stream.Context())
	a.at = c.service.submission(a.ctx, &prompt{}, callerOf(a.ctx), checked(req))
	err := a.at.open(a.ctx)
	if err == nil {
		err = a.at.placeFunc(a.ctx, func(l landing) {
			a.how = l
			c.land(a)
		})
	}
	if err != nil {
		c.answered(a, nil, nil, err)
	}
}

// land hands a request that has ended to reply. It does not block.
func (c *conversation) land(a *asked) {
	c.mu.Lock()
	c.landed = append(c.landed, a)
	c.mu.Unlock()
	select {
	case c.some <- struct{}{}:
	default:
	}
}

// reply replies to requests as they end, until the stream is over.
func (c *conversation) reply(over <-chan struct{}) {
	var these []*asked
	for {
		select {
		case <-c.some:
		case <-over:
			return
		}
		c.mu.Lock()
		these, c.landed = c.landed, these[:0]
		c.mu.Unlock()
		for i, a := range these {
			if answer, receipt, err, again := a.at.landed(a.ctx, a.how); !again {
				c.answered(a, answer, receipt, err)
			} else {
				go func() { // for there may be waiting to do
					answer, receipt, err := a.at.place(a.ctx)
					c.answered(a, answer, receipt, err)
				}()
			}
			these[i] = nil
		}
	}
}

// answered sends the reply to a request, and gives its slot back.
func (c *conversation) answered(a *asked, answer *answer, receipt *pb.Receipt, err error) {
	defer func() { <-c.window }()
	answer, receipt, err = a.at.ended(answer, receipt, err)
	var r *pb.PrefillResponse
	if err == nil {
		r = reply(a.req, answer, receipt)
	}
	a.end(err)
	c.leave(a.req.GetRequestId())
	c.say(a.req.GetRequestId(), r, err)
}

// say sends the end of one request. That it can't be sent means that the stream
// has ended, which listen learns, too.
func (c *conversation) say(id string, r *pb.PrefillResponse, err error) {
	end := &pb.PrefillStreamResponse{RequestId: id}
	if err == nil {
		end.Result = &pb.PrefillStreamResponse_Response{Response: r}
	} else {
		end.Result = &pb.PrefillStreamResponse_Error{Error: streamError(statusOf(err))}
	}
	c.sending.Lock()
	defer c.sending.Unlock()
	_ = c.stream.Send(end)
}

// finish returns when nothing is being handled, and keeps anything new from
// being started.
func (c *conversation) finish() {
	for range cap(c.window) {
		c.window <- struct{}{}
	}
}

// endingStream is a server stream whose context ends with another one, too.
type endingStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s endingStream) Context() context.Context { return s.ctx }

// endStreams ends streams that only watch (health) once stopping is done, so
// that a watcher does not hold up the end of the process. PrefillStream looks
// after itself: it has replies to send first.
func endStreams(stopping context.Context) grpc.StreamServerInterceptor {
	return func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		if info.FullMethod == pb.PrefillService_PrefillStream_FullMethodName {
			return handle(srv, s)
		}
		ctx, cancel := context.WithCancel(s.Context())
		defer cancel()
		defer context.AfterFunc(stopping, cancel)()
		return handle(srv, endingStream{s, ctx})
	}
}
