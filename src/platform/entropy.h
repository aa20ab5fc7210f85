// Entropy: the only source of randomness. Tests pass a constant one.
#pragma once

#include <span>

namespace postern {

class Entropy {
 public:
  virtual ~Entropy() = default;
  // Fills `out` with bytes fit for keys. Ends the process if the system cannot give any.
  virtual void fill(std::span<unsigned char> out) const noexcept = 0;
};

class SystemEntropy final : public Entropy {
 public:
  void fill(std::span<unsigned char> out) const noexcept override;
};

}  // namespace postern
