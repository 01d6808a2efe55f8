package server

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
	"paceline/sglang"
)

// maxFlush is the max time that a flush may wait for running work.
const maxFlush = time.Hour

// adminService implements AdminService.
type adminService struct {
	pb.UnimplementedAdminServiceServer

	version   string
	started   time.Time
	up        *upstream.Upstream
	settings  *liveSettings
	readiness *readiness
	delay     time.Duration // Config.DrainDelay
}

// GetStatus implements AdminServiceServer.
func (a *adminService) GetStatus(context.Context, *pb.GetStatusRequest) (*pb.GetStatusResponse, error) {
	v := a.readiness.now()
	return &pb.GetStatusResponse{
		Version:        a.version,
		StartTime:      timestamppb.New(a.started),
		Ready:          v.ready,
		NotReadyReason: v.reason,
		Draining:       v.draining,
		Settings:       settingsMessage(a.up.Queue.Settings()),
		Batcher:        batcherStatus(a.up.Queue.Stats()),
		RecentBatches:  a.recent(),
		Upstream:       upstreamStatus(a.up),
	}, nil
}

// GetSettings implements AdminServiceServer.
func (a *adminService) GetSettings(context.Context, *pb.GetSettingsRequest) (*pb.GetSettingsResponse, error) {
	return &pb.GetSettingsResponse{Settings: settingsMessage(a.up.Queue.Settings())}, nil
}

// UpdateSettings implements AdminServiceServer.
func (a *adminService) UpdateSettings(_ context.Context, req *pb.UpdateSettingsRequest) (*pb.UpdateSettingsResponse, error) {
	if err := a.settings.update(req.GetSettings(), req.GetUpdateMask().GetPaths()); err != nil {
		return nil, upstream.ToStatus(err).Err()
	}
	return &pb.UpdateSettingsResponse{Settings: settingsMessage(a.up.Queue.Settings())}, nil
}

// FlushCache implements AdminServiceServer.
func (a *adminService) FlushCache(ctx context.Context, req *pb.FlushCacheRequest) (*pb.FlushCacheResponse, error) {
	timeout := req.GetTimeout().AsDuration()
	if req.GetTimeout() != nil && !req.GetTimeout().IsValid() || timeout < 0 || timeout > maxFlush {
		return nil, upstream.ToStatus(upstream.WrongField("timeout", "must be from 0s to %v", maxFlush)).Err()
	}
	err := a.up.Flush(ctx, timeout)
	var e *sglang.Error
	switch {
	case err == nil:
		return &pb.FlushCacheResponse{}, nil
	case errors.As(err, &e) && e.Kind == sglang.KindBusy:
		return nil, status.Error(codes.FailedPrecondition, "SGLang is still working and does not flush")
	}
	return nil, upstream.ToStatus(err).Err()
}

// Drain implements AdminServiceServer.
func (a *adminService) Drain(ctx context.Context, _ *pb.DrainRequest) (*pb.DrainResponse, error) {
	wait, err := a.readiness.drain(ctx, a.delay)
	if err == nil {
		err = wait(ctx)
	}
	if err != nil {
		return nil, upstream.ToStatus(err).Err()
	}
	return &pb.DrainResponse{}, nil
}

// Undrain implements AdminServiceServer.
func (a *adminService) Undrain(context.Context, *pb.UndrainRequest) (*pb.UndrainResponse, error) {
	if !a.readiness.resume() {
		return nil, status.Error(codes.FailedPrecondition, "the process is stopping")
	}
	return &pb.UndrainResponse{}, nil
}
