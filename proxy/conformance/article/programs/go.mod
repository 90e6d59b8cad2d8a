module article

go 1.25.0

require (
	github.com/go-redis/redis v6.15.2+incompatible
	github.com/gomodule/redigo v1.8.2
	go.opencensus.io v0.19.1
)

require (
	git.apache.org/thrift.git v0.12.0 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/hashicorp/golang-lru v0.5.0 // indirect
	github.com/onsi/ginkgo v1.16.5 // indirect
	github.com/onsi/gomega v1.44.0 // indirect
	golang.org/x/net v0.56.0 // indirect
	golang.org/x/sync v0.0.0-20201020160332-67f06af15bc9 // indirect
	google.golang.org/api v0.0.0-20181220000619-583d854617af // indirect
)
