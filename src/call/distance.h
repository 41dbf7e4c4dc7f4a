#pragma once
// Distance: how far a call travels to an instance, and Placement: which distances a service's manifest permits.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace shunt::call {

/// How a call travels. Nearer comes first.
enum class Distance : std::uint8_t {
  local,  ///< A function call in this process, or a message to another loop of it.
  shm,    ///< Shared memory, to another process of this host.
  unix_,  ///< A unix socket, to another process of this host.
  grpc,   ///< A gRPC stream, to another node.
};
inline constexpr std::array<Distance, 4> distances = {Distance::local, Distance::shm, Distance::unix_, Distance::grpc};

/// "local", "shm", "unix", "grpc".
std::string_view distance_name(Distance distance);
/// What it means, for people: "another process of this host, over a unix socket".
std::string_view distance_meaning(Distance distance);
std::optional<Distance> distance_named(std::string_view name);

/// Where an instance is: what the choice goes by before anything else. Two ways to one host are equally near.
enum class Place : std::uint8_t { same_process, same_host, elsewhere };
inline constexpr std::size_t place_count = 3;
constexpr Place place_of(Distance distance) {
  return distance == Distance::local  ? Place::same_process
         : distance == Distance::grpc ? Place::elsewhere
                                      : Place::same_host;
}
/// "in this process", "on this host", "on another node".
std::string_view place_name(Place place);

/// A few of the four.
class DistanceSet {
 public:
  constexpr DistanceSet() = default;
  constexpr DistanceSet(std::initializer_list<Distance> members) {
    for (Distance each : members) add(each);
  }
  static constexpr DistanceSet all() { return {Distance::local, Distance::shm, Distance::unix_, Distance::grpc}; }
  constexpr void add(Distance distance) { bits_ = static_cast<std::uint8_t>(bits_ | bit(distance)); }
  [[nodiscard]] constexpr bool has(Distance distance) const { return (bits_ & bit(distance)) != 0; }
  [[nodiscard]] constexpr bool is_empty() const { return bits_ == 0; }
  friend constexpr bool operator==(DistanceSet, DistanceSet) = default;

 private:
  static constexpr unsigned bit(Distance distance) { return 1u << static_cast<unsigned>(distance); }
  std::uint8_t bits_ = 0;
};
/// "shm, grpc"
std::string distance_list(DistanceSet set);

/// What the manifest says of how calls to a service travel.
struct Placement {
  std::optional<Distance> pin;  ///< Only so.
  DistanceSet forbid;           ///< Never so.

  [[nodiscard]] constexpr bool is_free() const { return !pin && forbid.is_empty(); }
  [[nodiscard]] constexpr bool allows(Distance distance) const {
    return pin ? *pin == distance : !forbid.has(distance);
  }
  /// What keeps calls from that distance: `pinned to shm`, `"placement" forbids grpc`. Empty where it is allowed.
  [[nodiscard]] std::string why_not(Distance distance) const;
};

}  // namespace shunt::call
