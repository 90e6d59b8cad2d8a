# One side of a library in Ruby, as a service of its own: sends as many jobs as it is told and prints their results, or works on
# them until it is ended.
#
#     ruby program.rb LIBRARY send COUNT
#     ruby program.rb LIBRARY work

require "json"

library, role, count = ARGV
require_relative "of_#{library}"

if role == "send"
  # Each job has another length, by which its two ends can be told from those of others.
  puts JSON.generate(send_jobs((1..count.to_i).map { |number| "x" * number }))
else
  work
end
