package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensioncapabilities"
)

// health stands in for the extension `health_check`, which is not among the Collector's own components but among the
// contributed ones. Of its settings it knows the one that the Compose file's Collector has.
type health struct {
	settings *healthSettings
	server   *http.Server
	ready    atomic.Bool
}

type healthSettings struct {
	Endpoint string `mapstructure:"endpoint"`
}

var (
	_ extension.Extension                   = (*health)(nil)
	_ extensioncapabilities.PipelineWatcher = (*health)(nil)
)

func newHealthFactory() extension.Factory {
	return extension.NewFactory(
		component.MustNewType("health_check"),
		func() component.Config { return &healthSettings{Endpoint: "localhost:13133"} },
		func(_ context.Context, _ extension.Settings, config component.Config) (extension.Extension, error) {
			return &health{settings: config.(*healthSettings)}, nil
		},
		component.StabilityLevelDevelopment,
	)
}

// Validate is called by the Collector, also for its command `validate`.
func (settings *healthSettings) Validate() error {
	_, _, err := net.SplitHostPort(settings.Endpoint)
	return err
}

func (health *health) Start(context.Context, component.Host) error {
	listener, err := net.Listen("tcp", health.settings.Endpoint)
	if err != nil {
		return err
	}
	health.server = &http.Server{Handler: health, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := health.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			panic(err)
		}
	}()
	return nil
}

func (health *health) Shutdown(context.Context) error {
	if health.server == nil {
		return nil
	}
	return health.server.Close()
}

func (health *health) Ready() error {
	health.ready.Store(true)
	return nil
}

func (health *health) NotReady() error {
	health.ready.Store(false)
	return nil
}

func (health *health) ServeHTTP(answer http.ResponseWriter, _ *http.Request) {
	if !health.ready.Load() {
		answer.WriteHeader(http.StatusServiceUnavailable)
	}
}
